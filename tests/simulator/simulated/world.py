"""Virtual time, and processes that can be stopped, go on later, and die. One seed decides everything."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from launcher_core.runtime.alarms import Alarms

ROUNDING = 1e-7
"""Added where a time goes from one clock to another, so that no alarm rings a moment before its time."""


class Timer:
    """Something that a process wants to do later."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], object]) -> None:
        self.function: Callable[[], object] | None = function

    def ring(self) -> None:
        """Do it, unless it was taken back."""
        function, self.function = self.function, None
        if function is not None:
            function()


class World:
    """The one true time, which nobody in it can read, and what will happen."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now = 0.0
        self.log: list[str] = []
        self.calm = False
        """Whether the faults are over."""
        self._alarms = Alarms()

    def after(self, seconds: float, function: Callable[[], object]) -> Any:
        """Have this happen in so many seconds."""
        return self._alarms.add(self.now + seconds, function)

    def cancel(self, alarm: Any) -> None:
        """Have it not happen."""
        self._alarms.cancel(alarm)

    def run(self, until: float, done: Callable[[], bool]) -> None:
        """Let time pass until then, or until it is done."""
        heap = self._alarms.heap
        while heap and heap[0][0] <= until and not done():
            self.now = max(self.now, heap[0][0])
            function = next(self._alarms.due(heap[0][0]), None)
            if function is not None:
                function()

    def note(self, text: str) -> None:
        """Add a line to the history of this seed."""
        self.log.append(f"{self.now:9.4f} {text}")

    def chance(self, probability: float) -> bool:
        """Whether it happens."""
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number between."""
        return low + (high - low) * self.random.random()


class Process:
    """A process with a clock of its own, which is off by some time and goes at a rate of its own."""

    def __init__(self, world: World, name: str, rate: float = 1.0) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.frozen = False
        self.thawed_at = -1.0
        self.died_at = 0.0
        self.on_death: list[Callable[[], object]] = []
        self._rate = rate
        self._offset = world.between(10.0, 1000.0)
        self._held: deque[Callable[[], object]] = deque()
        self._rung: deque[Callable[[], object]] = deque()

    def clock(self) -> float:
        """The time, as this process sees it."""
        return self._offset + self.world.now * self._rate

    def soon(self, function: Callable[[], object]) -> None:
        """Something comes in: taken now, or when the process goes on."""
        if self.frozen:
            self._held.append(function)
        elif self.alive:
            function()

    def at(self, when: float, function: Callable[[], object]) -> Timer:
        """Do this at a time of this process's clock."""
        timer = Timer(function)
        wait = (when - self.clock()) / self._rate
        self.world.after(max(0.0, wait) + ROUNDING, lambda: self._ring(timer))
        return timer

    def after(self, seconds: float, function: Callable[[], object]) -> Timer:
        """Do this in so many seconds of this process's clock."""
        return self.at(self.clock() + seconds, function)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = self.alive

    def thaw(self) -> None:
        """SIGCONT: what has come meanwhile is there at once, before what was due or after it."""
        if not self.frozen:
            return
        self.frozen, self.thawed_at = False, self.world.now
        queues = (self._held, self._rung) if self.world.chance(0.7) else (self._rung, self._held)
        for queue in queues:
            while queue and self.alive and not self.frozen:
                queue.popleft()()

    def die(self) -> None:
        """SIGKILL, or the end of the program."""
        if self.alive:
            self.alive = self.frozen = False
            self.died_at = self.world.now
            for function in self.on_death:
                function()

    def _ring(self, timer: Timer) -> None:
        if self.frozen:
            self._rung.append(timer.ring)
        elif self.alive:
            timer.ring()
