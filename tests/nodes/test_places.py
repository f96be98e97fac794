"""Who gets a place: spares, replacements, ranks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from itertools import pairwise

from backends import every
from jobs import Job
from launches import until

Make = Callable[..., Job]


@every()
def test_a_node_too_many_is_parked_and_promoted_when_a_place_is_free(job: Make) -> None:
    full = job(3, "1:2")
    running = [full.start(0), full.start(1)]
    before = full.await_group(0, 1)
    running.append(full.start(2))
    until(lambda: "this node is a spare" in running[2].err, "the third is told that it is a spare")
    assert full.notes.group() == [] or {note.pid for note in full.notes.group()} == {note.pid for note in before}
    full.nodes[1].crash()
    after = full.await_group(0, 2, but=before)
    assert {note.restarts for note in after} == {0}
    assert full.notes.overlaps() == []
    full.end([running[0], running[2]])


@every()
def test_a_spare_that_is_never_needed_ends_well_with_the_job(job: Make) -> None:
    full = job(3, "1:2")
    running = [full.start(0), full.start(1)]
    full.await_group(0, 1)
    running.append(full.start(2))
    until(lambda: "this node is a spare" in running[2].err, "the third is told that it is a spare")
    full.end(running)


@every()
def test_an_agent_that_was_stopped_becomes_a_spare_when_its_place_was_given_away(job: Make) -> None:
    full = job(3, "2")
    full.keep_for(60)
    running = [full.start(0), full.start(1)]
    before = full.await_group(0, 1)
    running.append(full.start(2))
    until(lambda: "this node is a spare" in running[2].err, "the third is told that it is a spare")
    running[1].signal(signal.SIGSTOP)
    until(lambda: "node2" in {note.node for note in full.notes.all()}, "the spare is promoted")
    running[1].signal(signal.SIGCONT)
    until(lambda: "this node is a spare" in running[1].err, "the one that was stopped is a spare")
    after = full.await_group(0, 2, but=before)
    assert {note.restarts for note in after} == {0}
    full.end(running)


@every()
def test_a_replacement_with_the_same_name_and_another_address_inherits_the_rank(job: Make) -> None:
    replaced = job(4, "3:4")
    running = [replaced.start(number) for number in range(3)]
    before = replaced.await_group(0, 1, 2)
    ranks = {note.node: note.rank for note in before}
    replaced.nodes[1].crash()
    replaced.nodes[1].name_as("broken")
    replaced.nodes[3].name_as("node1")
    replaced.nodes.name_all()
    running[1] = replaced.start(3)
    after = replaced.await_group(0, 3, 2, but=before)
    assert {note.node: note.rank for note in after} == ranks
    assert {note.restarts for note in after} == {0}
    assert replaced.notes.overlaps() == []
    replaced.end(running)


@every()
def test_nodes_with_different_numbers_of_workers_get_contiguous_ranks(job: Make) -> None:
    uneven = job(3, "3")
    running = [uneven.start(number, f"--nproc-per-node={number + 1}") for number in range(3)]
    until(lambda: len(uneven.notes.group()) == 6, "six workers form a round")
    group = uneven.notes.group()
    assert [note.rank for note in group] == [*range(6)]
    changes = [one.node != other.node for one, other in pairwise(group)]
    assert sum(changes) == 2, group
    uneven.end(running)


@every()
def test_a_failed_worker_restarts_all_nodes_and_every_rank_sees_the_same_count(job: Make) -> None:
    fails = job(3, "3", "--max-restarts=2")
    running = fails.start_all()
    before = fails.await_group(0, 1, 2)
    for spent in (1, 2):
        os.kill(before[spent].pid, signal.SIGKILL)
        before = fails.await_group(0, 1, 2, but=before)
        assert {note.restarts for note in before} == {spent}
    assert fails.notes.overlaps() == []
    fails.end(running)
