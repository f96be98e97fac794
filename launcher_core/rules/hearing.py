"""Who has given a sign of life lately, as a node knows it that reads a register. Times in seconds, by its own clock."""

from collections.abc import Mapping
from typing import NamedTuple

NEVER = -float("inf")


class Sign(NamedTuple):
    """The newest sign of life of a node: its number, when it was seen, and after which time it was surely given."""

    number: int
    seen: float
    after: float


class Hearing:
    """Counts the silence of others while it listens itself: who stood still for a while has heard nobody."""

    def __init__(self, lease: float, pause: float) -> None:
        """`lease`: so long a silence makes a node lost; `pause`: the longest that counts between two looks."""
        self._lease = lease
        self._pause = pause
        self._looked: float | None = None
        self._signs: dict[str, Sign] = {}
        self.deaf = 0.0
        """How long it has stood still in all. Its other times are without that."""

    def living(self, beats: Mapping[str, int], now: float) -> set[str]:
        """Ids of nodes that have not been silent for too long; `beats`: node id -> the number of its newest sign."""
        before = NEVER if self._looked is None else self._looked - self.deaf
        if self._looked is not None:
            self.deaf += max(0.0, now - self._looked - self._pause)
        self._looked = now
        now -= self.deaf
        old, self._signs = self._signs, {}
        for id, count in beats.items():
            sign = old.get(id)
            if sign is None or sign.number != count:
                sign = Sign(count, now, NEVER if sign is None else before)
            self._signs[id] = sign
        return {id for id, sign in self._signs.items() if now - sign.seen <= self._lease}

    def alive_after(self) -> dict[str, float]:
        """Node id -> after which time it has given a sign of life, for certain."""
        return {id: sign.after for id, sign in self._signs.items()}
