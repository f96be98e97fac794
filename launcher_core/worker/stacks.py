"""A worker's offer to show its stacks when the launcher asks: Python's own faulthandler, on a signal.

`record` makes the offer, so a program that uses it need not. The signal is SIGURG: one that a process which does
not handle it ignores, so that asking can never end a program, not even one that has just executed another. A
program that handles SIGURG itself keeps it, and makes no offer. What the launcher reads is an anonymous file of the
worker's; it has no path, and is gone with the worker.
"""

from __future__ import annotations

import os
import sys

FILE = "launcher-stacks"
"""The name by which the file is known in /proc/PID/fd."""
AGENT = "LAUNCHER_AGENT"
"""The variable that tells a worker that it is one."""


def offer() -> bool:
    """Have this process write its Python stacks when the launcher asks; whether it will. Main thread only.

    False outside of a launch, where the system has no such file, and where the program handles SIGURG itself.
    """
    if AGENT not in os.environ or not hasattr(os, "memfd_create"):
        return False
    import faulthandler
    import fcntl
    import signal

    try:
        if signal.getsignal(signal.SIGURG) is not signal.SIG_DFL:
            return False
        fd = os.memfd_create(FILE)
    except OSError:
        return False
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)  # the launcher empties the file before it asks
        faulthandler.register(signal.SIGURG, file=fd, all_threads=True, chain=False)
    except (OSError, RuntimeError, ValueError) as error:
        os.close(fd)
        print(f"launcher: this worker cannot offer its stacks: {error}", file=sys.stderr)
        return False
    return True
