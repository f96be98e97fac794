"""A network that falls in two, loses frames, or is slow."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import pytest
from backends import many_times, unnetworked
from jobs import Job
from launches import until
from wire import Link

Make = Callable[..., Job]
Timing = Callable[[str, float], None]


@many_times(networked=True)
def test_of_a_network_in_two_parts_the_side_where_they_meet_trains_and_no_two_rounds_live_at_once(
    job: Make, reformed: Timing, round: int
) -> None:
    splits = job(5, "3:5")
    splits.keep_for(60)
    running = splits.start_all()
    before = splits.await_group(0, 1, 2, 3, 4)
    cut = monotonic()
    splits.nodes.cut(3, 4)
    after = splits.await_group(0, 1, 2, but=before)
    reformed("re-form after a partition", max(note.born for note in after) - cut)
    splits.nodes.heal()
    healed = monotonic()
    whole = splits.await_group(0, 1, 2, 3, 4, but=after)
    reformed("re-form after a partition had healed", max(note.born for note in whole) - healed)
    assert splits.notes.overlaps() == []
    assert {note.restarts for note in splits.notes.all()} == {0}
    assert {note.node for note in splits.notes.all() if note.round == after[0].round} == {"node0", "node1", "node2"}
    splits.end(running)


@pytest.mark.parametrize("link", [Link(loss=0.05), Link(delay=0.2)], ids=["losses", "delay"])
@many_times(networked=True, costly=True)
def test_a_bad_network_costs_a_job_that_is_told_of_it_no_node(job: Make, link: Link, round: int) -> None:
    patient = job(3, "3")
    patient.lose_after(8, beats=8)
    patient.keep_for(30)
    patient.nodes.all_links(link)
    running = patient.start_all()
    group = patient.await_group(0, 1, 2)
    wanted = group[0].last + 10.0
    until(lambda: min(note.last for note in patient.notes.all()) > wanted, "the workers go on for ten seconds")
    assert {note.pid for note in patient.notes.all()} == {note.pid for note in group}
    patient.end(running)
    assert not [one.err for one in running if "gone" in one.err or "cut off" in one.err]


@unnetworked()
def test_nodes_that_meet_without_the_network_are_not_lost_with_it(job: Make) -> None:
    apart = job(2, "2")
    running = apart.start_all()
    before = apart.await_group(0, 1)
    apart.nodes.cut(1)
    wanted = max(note.last for note in before) + 3 * apart.silence
    until(lambda: min(note.last for note in apart.notes.all()) > wanted, "the workers go on for longer than a silence")
    assert {note.pid for note in apart.notes.all()} == {note.pid for note in before}
    apart.end(running)
    assert [one.err for one in running] == ["", ""]
