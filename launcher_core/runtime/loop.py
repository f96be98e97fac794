"""The agent's one loop: it sleeps until a descriptor, a posted event or an alarm is ready; events come in order."""

from __future__ import annotations

import heapq
import os
import selectors
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any

from launcher_core.runtime.alarms import LONGEST_SLEEP


class _Call:
    """An alarm that is no event."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function


class Loop:
    """Not shared: all methods but `post` belong to the thread that runs the loop."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._inbox: deque[Any] = deque()
        self._alarms: list[tuple[float, int, Any]] = []
        self._order = count()
        self.on_byte: Callable[[int], Any] = _no_event
        """Turns a byte that a signal wrote to `wake_fd` into an event, or None. Bytes of `post` are 0."""
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._drain)

    def post(self, event: Any) -> None:
        """Add an event; from any thread."""
        self._inbox.append(event)
        with suppress(OSError):  # the pipe is full of wake-ups already, or the loop is closed
            os.write(self.wake_fd, b"\0")

    def watch(self, fd: int, ready: Callable[[], Any]) -> None:
        """Call `ready` whenever `fd` is readable; what it returns, unless None, is an event."""
        self._selector.register(fd, selectors.EVENT_READ, ready)

    def forget(self, fd: int) -> None:
        """Watch `fd` no more."""
        self._selector.unregister(fd)

    def arm(self, event: Any, seconds: float) -> None:
        """Give `event` in so many seconds."""
        heapq.heappush(self._alarms, (monotonic() + seconds, next(self._order), event))

    def call(self, function: Callable[[], Any], seconds: float) -> None:
        """Call `function` in so many seconds, unless `disarm` comes first; what it returns is an event, if not None."""
        self.arm(_Call(function), seconds)

    def disarm(self) -> None:
        """Drop all alarms."""
        self._alarms.clear()

    def wait(self) -> Iterator[Any]:
        """The events that are ready now; sleeps until there is at least one chance of some."""
        for key, _ in self._selector.select(self._timeout()):
            event = key.data()
            if event is not None:
                yield event
        while self._inbox:
            yield self._inbox.popleft()
        while self._alarms and self._alarms[0][0] <= monotonic():
            event = heapq.heappop(self._alarms)[2]
            if isinstance(event, _Call):
                event = event.function()
            if event is not None:
                yield event

    def unheard(self) -> list[Any]:
        """The posted events and signals that nobody has waited for yet; they stay."""
        self._drain()
        return list(self._inbox)

    def close(self) -> None:
        """Close the loop's descriptors; those that it watched stay open."""
        self._selector.close()
        os.close(self._wake_read)
        os.close(self.wake_fd)

    def _timeout(self) -> float | None:
        if self._inbox:
            return 0
        return min(max(0.0, self._alarms[0][0] - monotonic()), LONGEST_SLEEP) if self._alarms else None

    def _drain(self) -> None:
        try:
            data = os.read(self._wake_read, 4096)
        except BlockingIOError:
            return
        for byte in data:
            event = self.on_byte(byte) if byte else None
            if event is not None:
                self._inbox.append(event)


def _no_event(byte: int) -> Any:
    return None
