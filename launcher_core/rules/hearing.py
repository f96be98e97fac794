"""Who has given a sign of life lately, as a node knows it that reads a register. Times in seconds, by its own clock."""

from collections.abc import Mapping


class Hearing:
    """Counts the silence of others while it listens itself: who stood still for a while has heard nobody."""

    def __init__(self, lease: float, pause: float) -> None:
        """`lease`: so long a silence makes a node lost; `pause`: the longest that counts between two looks."""
        self._lease = lease
        self._pause = pause
        self._looked = -float("inf")
        self._seen: dict[str, tuple[int, float]] = {}
        """Node id -> its newest sign of life, and since when it has been that."""

    def living(self, beats: Mapping[str, int], now: float) -> set[str]:
        """Ids of nodes that have not been silent for too long; `beats`: node id -> the number of its newest sign."""
        deaf = max(0.0, now - self._looked - self._pause)
        self._looked = now
        for id in [*self._seen.keys() - beats.keys()]:
            del self._seen[id]
        for id, count in beats.items():
            seen = self._seen.get(id)
            self._seen[id] = (count, now if seen is None or seen[0] != count else seen[1] + deaf)
        return {id for id, (_, since) in self._seen.items() if now - since <= self._lease}

    def since(self) -> dict[str, float]:
        """Node id -> since when its newest sign of life has been that."""
        return {id: since for id, (_, since) in self._seen.items()}
