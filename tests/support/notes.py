"""What workers of tests/nodes/bin/stay.py noted of themselves, and the rounds that it shows."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from launches import DEADLINE, until


class Note(NamedTuple):
    """One worker. Times are of the machine's monotonic clock, in seconds."""

    pid: int
    round: str
    """What rank 0 of its round gave everybody through the store."""
    rank: int
    world: int
    restarts: int
    node: str
    agent: int
    born: float
    address: str
    secret: bool
    last: float
    """When it was last known to live."""

    @property
    def lives(self) -> bool:
        """Whether its process is there and no zombie."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        return False


class Notes:
    """A folder where workers of one job leave notes."""

    def __init__(self, tmp: Path) -> None:
        self.folder = tmp / "notes"
        self.folder.mkdir()

    def all(self) -> list[Note]:
        """Everything noted so far, by whoever met the others of its round."""
        found = []
        for path in self.folder.iterdir():
            head, _, last = path.read_text().partition("\n")
            if last:
                found.append(Note(pid=int(path.name), last=float(last), **json.loads(head)))
        return found

    def group(self) -> list[Note]:
        """The workers that live now, by rank, if they are all of one round; else none."""
        living = sorted((note for note in self.all() if note.lives), key=lambda note: note.rank)
        whole = len({note.round for note in living}) == 1 and len(living) == living[0].world
        return living if whole else []

    def await_group(self, *names: str, but: list[Note] | None = None, within: float = DEADLINE) -> list[Note]:
        """The workers of the round that these nodes form, one each; not the round `but`."""
        old = but[0].round if but else None

        def formed() -> list[Note]:
            group = self.group()
            wanted = group and group[0].round != old and {note.node for note in group} == {*names}
            return group if wanted else []

        group = until(formed, f"{', '.join(names)} form a round", within)
        assert isinstance(group, list)
        return group

    def stop(self, rank: int | None = None) -> None:
        """Have the workers end, or the one of this rank."""
        (self.folder / f"stop{'' if rank is None else rank}").touch()

    def overlaps(self) -> list[str]:
        """Pairs of rounds of which workers lived at the same time; there should be none."""
        rounds: dict[str, list[Note]] = {}
        for note in self.all():
            rounds.setdefault(note.round, []).append(note)
        spans = sorted((min(n.born for n in group), max(n.last for n in group), name) for name, group in rounds.items())
        pairs = [(last, first) for (_, last, _), (first, _, _) in pairwise(spans)]
        return [f"one lived until {last}, the next since {first}" for last, first in pairs if last > first]
