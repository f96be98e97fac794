"""Calls that are due at some time, in the order of their times. Reads no clock: the time is an argument."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count

LONGEST_SLEEP = 86_400.0
"""Seconds to sleep at once: the kernel takes no more than 24 days, and whoever wakes looks at the time again."""


class Alarm:
    """One call to come; `cancel` takes it back."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] | None = function


class Alarms:
    """A heap of alarms. Cancelled ones stay in it until they are due or the most of it."""

    __slots__ = ("_cancelled", "_order", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Alarm]] = []
        """(Time, number, alarm), the next one first; always the same list."""
        self._order = count()
        self._cancelled = 0

    def add(self, when: float, function: Callable[[], object]) -> Alarm:
        """Have `due` give the function at that time; of equal times the one added first comes first."""
        alarm = Alarm(function)
        heapq.heappush(self.heap, (when, next(self._order), alarm))
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """Keep the alarm from going off; nothing if it has."""
        if alarm.function is None:
            return
        alarm.function = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self.heap):
            self.heap[:] = [entry for entry in self.heap if entry[2].function is not None]
            heapq.heapify(self.heap)
            self._cancelled = 0

    def seconds_left(self, now: float) -> float | None:
        """How long to sleep: nothing is due before, and it is LONGEST_SLEEP at most; None for ever."""
        return min(max(0.0, self.heap[0][0] - now), LONGEST_SLEEP) if self.heap else None

    def due(self, now: float) -> Iterator[Callable[[], object]]:
        """Each function whose time has come, to be called before the next is asked for."""
        while self.heap and self.heap[0][0] <= now:
            alarm = heapq.heappop(self.heap)[2]
            function, alarm.function = alarm.function, None
            if function is None:
                self._cancelled -= 1
            else:
                yield function
