"""The pseudo-terminal that a worker is given for its stderr where the launcher's own is a terminal."""

from __future__ import annotations

import os
from contextlib import suppress


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is one, and a terminal's."""
    return fd >= 0 and os.isatty(fd)


def open_like(model: int) -> tuple[int, int]:
    """Both ends of a pseudo-terminal of the model's size that alters no byte; of a pipe when none is left."""
    try:
        ours, theirs = os.openpty()
    except OSError:
        return os.pipe()
    import tty

    tty.setraw(theirs)
    copy_size(model, theirs)
    return ours, theirs


def copy_size(model: int, fd: int) -> None:
    """Give the terminal the model's size, which may have changed. A model without one changes nothing."""
    import fcntl
    import termios

    with suppress(OSError):  # one of the two is none, or is gone
        fcntl.ioctl(fd, termios.TIOCSWINSZ, fcntl.ioctl(model, termios.TIOCGWINSZ, b"\0" * 8))
