"""The node that hosts the job: the one that a job over c10d depends on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic

import pytest
from backends import MANY
from jobs import Job
from launches import until

Make = Callable[..., Job]
Timing = Callable[[str, float], None]

EXIT_HOST_LOST = 75


@pytest.mark.parametrize("how", ["killed", "cut"])
def test_the_loss_of_the_host_ends_the_others_soon_with_a_code_of_its_own(job: Make, how: str) -> None:
    orphaned = job(3, "1:3")
    running = orphaned.start_all()
    orphaned.await_group(0, 1, 2)
    lost = monotonic()
    orphaned.nodes[0].crash() if how == "killed" else orphaned.nodes.cut(0)
    ended = [one.wait(10.0) for one in running[1:]]
    seconds = monotonic() - lost
    assert [one.code for one in ended] == [EXIT_HOST_LOST] * 2
    assert all("the node that hosts the job at node0:29400 is gone" in one.err for one in ended), ended
    assert seconds < 2 * 5
    until(lambda: not [note for note in orphaned.notes.all() if note.lives and note.node != "node0"], "none is left")


def test_a_host_that_was_stopped_for_less_than_its_loss_takes_everybody_back(job: Make) -> None:
    sleeps = job(3, "3")
    sleeps.keep_for(60)
    running = sleeps.start_all()
    before = sleeps.await_group(0, 1, 2)
    running[0].signal(signal.SIGSTOP)
    for one in running[1:]:
        until(lambda one=one: "was cut off from the host" in one.err, "the others notice")
    running[0].signal(signal.SIGCONT)
    after = sleeps.await_group(0, 1, 2, but=before)
    assert [note.node for note in after] == [note.node for note in before]
    assert {note.restarts for note in after} == {0}
    sleeps.end(running)


@pytest.mark.parametrize("round", range(MANY))
def test_a_host_whose_agent_is_started_again_finds_its_job_and_every_node_its_rank(
    job: Make, reformed: Timing, round: int
) -> None:
    orphaned = job(3, "2:4")
    running = [orphaned.start(number) for number in range(3)]
    before = orphaned.await_group(0, 1, 2)
    orphaned.nodes[0].crash()
    again = monotonic()
    orphaned.conf["last_call_timeout"] = "60"  # who took part is known to the others, so that nobody is waited for
    running[0] = orphaned.start(0)
    after = orphaned.await_group(0, 1, 2, but=before)
    reformed("re-form after the host's agent was started again", max(note.born for note in after) - again)
    assert [note.node for note in after] == [note.node for note in before]
    assert {note.restarts for note in after} == {0}
    assert orphaned.notes.overlaps() == []
    orphaned.end(running)


def test_the_larger_part_without_the_host_ends_and_the_smaller_with_it_goes_on(job: Make) -> None:
    splits = job(5, "2:5")
    running = splits.start_all()
    before = splits.await_group(0, 1, 2, 3, 4)
    splits.nodes.cut(2, 3, 4)
    after = splits.await_group(0, 1, but=before)
    assert [one.wait().code for one in running[2:]] == [EXIT_HOST_LOST] * 3
    assert {note.pid for note in splits.notes.group()} == {note.pid for note in after}
    assert splits.notes.overlaps() == []
    splits.end(running[:2])
