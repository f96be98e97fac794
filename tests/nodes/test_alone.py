"""Launches of one node that happen to share a machine."""

from __future__ import annotations

from collections.abc import Callable

from jobs import STAY, Job
from launches import until

Make = Callable[..., Job]

MANY = 20


def test_twenty_launches_at_once_on_one_machine_need_no_flag_and_share_no_port(job: Make) -> None:
    alone = job(1, "1")
    node, notes = alone.nodes[0], alone.notes
    running = [node.start(STAY, notes.folder) for _ in range(MANY)]
    until(lambda: len([note for note in notes.all() if note.lives]) == MANY, "all workers live at once")
    assert len({note.round for note in notes.all()}) == MANY
    alone.end(running)
