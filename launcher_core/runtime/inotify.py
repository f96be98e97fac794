"""Notification of writes to files, through Linux's inotify.

Imported only when a file is followed: ctypes costs several milliseconds.  Where there is no inotify, or no
instance or watch of it is left, OSError is raised and the caller looks from time to time.
"""

from __future__ import annotations

import ctypes
import os

_IN_MODIFY = 0x2
APPEARED = 0x4 | 0x8 | 0x80 | 0x100
"""In a directory: attributes changed, closed after writing, moved to here, created."""
_EVENT_INTS = 4  # wd, mask, cookie, length of the name; a watched file's events have no name
_MANY_EVENTS = 256 * 1024  # bytes: as many events as the kernel keeps


class Inotify:
    """One inotify instance; `fd` is readable when a watched file was written to."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            create = self._libc.inotify_init1
        except AttributeError as error:
            raise OSError("this system has no inotify") from error
        self.fd: int = _checked(create(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1")

    def watch(self, path: str, mask: int = _IN_MODIFY) -> int:
        """Watch a file, or a directory; the number that `changed` will name it by, the same one for the same file."""
        return _checked(self._libc.inotify_add_watch(self.fd, os.fsencode(path), ctypes.c_uint32(mask)), path)

    def changed(self) -> set[int]:
        """The numbers of files written to since the last call; -1 among them when some were missed.

        Of a directory's events, which have names, the numbers mean nothing.
        """
        try:
            events = os.read(self.fd, _MANY_EVENTS)
        except BlockingIOError:
            return set()
        return set(memoryview(events).cast("i")[::_EVENT_INTS].tolist())

    def close(self) -> None:
        """End all watches."""
        os.close(self.fd)


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result
