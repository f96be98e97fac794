"""Failures that a lost node may explain, and that are therefore not the last word yet.

Where losses are noticed late, a node dies and the workers of the others fail of it long before anybody knows why. To
end the job for that would be wrong, and to end it late is only slow: so a failure that no restart is left for is kept
back until no node can have been dead when it happened.
"""

from collections.abc import Mapping, Sequence

from launcher_core.rules.register import Word
from launcher_core.rules.round import Phase, Round

NEVER = float("inf")


class Doubts:
    """Of one node that folds words. Times in seconds, by its own clock."""

    def __init__(self, lease: float, *, leased: bool = False) -> None:
        """`leased`: whether the backend keeps an entry for each node, and may keep it for longer than the lease."""
        self._wait = (3.0 if leased else 1.25) * lease
        """A node that was dead when a failure was first seen is known to be lost by then: a server that is started
        again, or another that leads, counts the time of each lease anew."""
        self._since: dict[tuple[str, int], float] = {}
        self.until = NEVER
        """When the first of them is no longer in doubt."""
        self._came: dict[tuple[str, int], float] = {}
        """Words with a testimony, and when each was first seen."""
        self.ask = 0
        """The question that all nodes have to answer before: whether they live."""

    def about(self, word: Word, round: Round, left: int, now: float, alive: Mapping[str, float]) -> bool:
        """Whether to keep back what this word says, while so many restarts are `left`.

        `alive`: node id -> after which time it has given a sign of life, for certain.
        """
        alone = len(round.seated) - len(round.away) < 2
        news = round.phase is Phase.RUNNING and word.round == round.number
        if word.say != "failed" or left + word.restarts > 0 or alone or not news:
            return False
        since = self._since.setdefault((word.node.id, word.count), now)
        others = [node.id for node in round.seated if node.id not in (word.node.id, *round.away)]
        if now >= since + self._wait or all(alive.get(id, -NEVER) >= since for id in others):
            return False
        self.until = min(self.until, since + self._wait)
        return True

    def in_order(self, words: Sequence[Word], now: float) -> Sequence[Word]:
        """The words; those that testify last, and by when what they tell of happened, as far as this node can know."""
        telling = {(word.node.id, word.count): word for word in words if word.testimony is not None}
        if not telling:
            return words
        self._came = {key: self._came.get(key, now) for key in telling}
        moments = {key: self._came[key] - word.testimony["age"] for key, word in telling.items() if word.testimony}
        rest = [word for word in words if word.testimony is None]
        return [*rest, *(telling[key] for key in sorted(telling, key=lambda key: moments[key]))]

    def answered(self, words: Sequence[Word], now: float) -> dict[str, float]:
        """Node id -> now, for each that has answered the question."""
        return {word.node.id: now for word in words if self.ask and word.answer >= self.ask}

    def begin(self, asked: int) -> None:
        """Before all words are looked at: the newest question so far was `asked`."""
        self.ask = self.ask if self.until < NEVER else asked + 1
        self.until = NEVER
