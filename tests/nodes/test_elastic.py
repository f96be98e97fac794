"""A job that grows, shrinks, and keeps its ranks."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from backends import many_times
from jobs import Job

Make = Callable[..., Job]


@many_times()
def test_a_job_grows_from_one_node_to_four_while_it_runs(
    job: Make, reformed: Callable[[str, float], None], round: int
) -> None:
    grows = job(4, "1:4")
    running, group = [], []
    for number in range(4):
        begun = monotonic()
        running.append(grows.start(number))
        group = grows.await_group(*range(number + 1), but=group)
        if number:
            reformed("grow by a node", max(note.born for note in group) - begun)
        assert [note.node for note in group] == [f"node{rank}" for rank in range(number + 1)]
        assert {note.restarts for note in group} == {0}
    assert grows.notes.overlaps() == []
    grows.end(running)
