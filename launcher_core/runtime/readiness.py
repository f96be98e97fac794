"""Which descriptors can be read or written, and what to call then: epoll, or poll where there is none.

The selectors module does the same in nearly three times as long: 1.0 instead of 0.4 us for each event. A
store would pay that two or three times for a pair of set and get, for which all its Python takes about 10 us.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

IN, OUT = select.POLLIN, select.POLLOUT  # the same bits as epoll's


class Readiness:
    """Descriptors, each with the events it is watched for and a function that takes those that came.

    Events may have bits beyond IN and OUT when a connection has failed: reading or writing tells how.
    """

    __slots__ = ("_poll", "calls", "wait")

    def __init__(self) -> None:
        self.calls: dict[int, Callable[[int], object]] = {}
        """What to call for a descriptor that `wait` gives; it may have gone since, or be another's by now."""
        self.wait: Callable[[float | None], list[tuple[int, int]]]
        """Sleep at most so many seconds, None for ever; (descriptor, events) of each that is ready."""
        if sys.platform == "linux":
            self._poll = select.epoll()
            self.wait = self._poll.poll
        else:
            poll = self._poll = select.poll()
            self.wait = lambda seconds: poll.poll(None if seconds is None else seconds * 1000)

    def watch(self, fd: int, events: int, call: Callable[[int], object]) -> None:
        """Watch one more descriptor."""
        self.calls[fd] = call
        self._poll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Watch it for other events."""
        self._poll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Watch it no more; before it is closed."""
        del self.calls[fd]
        self._poll.unregister(fd)

    def close(self) -> None:
        """Release what the system keeps for this; descriptors stay open."""
        if sys.platform == "linux":
            self._poll.close()
