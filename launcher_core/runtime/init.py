"""What a process must do as number 1 of a container: bury orphans, and pass signals on. Nothing else.

The kernel gives every orphan of the container to number 1, and ignores signals to it that it does not handle. So
the launch runs in a child, which is a process like any other.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


def leave_number_one() -> None:
    """Return in a new child, as number 2 or so, with this process as its init; else return at once.

    The init never returns: it exits with the child's exit code, 128+N when signal N ended it.
    """
    if os.getpid() != 1:
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    child = os.fork()
    if child:
        _serve(child)
    _take_the_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _take_the_terminal() -> None:
    """Have signals of the terminal sent to this process only: the init would pass them on a second time."""
    os.setpgid(0, 0)
    for fd in range(3):
        with suppress(OSError):  # no terminal, or not ours; SIGTTOU is blocked
            os.tcsetpgrp(fd, os.getpgrp())
            return


def _serve(child: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would have the kernel bury the child, too
    while True:
        signum = signal.sigwait(signal.valid_signals())
        if signum != signal.SIGCHLD:
            with suppress(ProcessLookupError):
                os.kill(child, signum)
        for pid, status in _dead():
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def _dead() -> list[tuple[int, int]]:
    """(pid, status) of every child that has ended; they are buried by that."""
    found = []
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found.append((pid, status))
    return found
