"""Functions that the contract of start methods has workers run. They are sent to a worker by name, as a user's are."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any, NoReturn


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def nothing() -> None:
    """None."""


def environment() -> dict[str, str]:
    """The worker's environment."""
    return dict(os.environ)


def place() -> dict[str, bool]:
    """Where the worker is among processes."""
    return {"leads a session": os.getsid(0) == os.getpid(), "leads a group": os.getpgrp() == os.getpid()}


def is_open(descriptor: int, inode: int) -> bool:
    """Whether that file is open here as that descriptor."""
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def signals() -> dict[str, Any]:
    """What the worker does about the signals that a launcher sends, and those it blocks."""
    usual = (signal.SIG_DFL, signal.default_int_handler)
    told = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)
    return {
        "not default": [signum.name for signum in told if signal.getsignal(signum) not in usual],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }


def speak() -> None:
    """Write to both streams."""
    print("to stdout")
    print("to stderr", file=sys.stderr)


def read_a_line() -> str:
    """A line of what the worker is given to read."""
    return sys.stdin.readline()


def leave(code: int) -> NoReturn:
    """Exit with that status."""
    sys.exit(code)


def die(signum: int) -> NoReturn:
    """End by that signal."""
    os.kill(os.getpid(), signum)
    wait_for_ever()


def fail() -> NoReturn:
    """Raise what nobody catches."""
    raise LookupError("no such luck")


def wait_for_ever() -> NoReturn:
    """Wait to be ended."""
    while True:
        threading.Event().wait(60)
