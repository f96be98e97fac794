"""Any node may be lost, the first one too, where the backend promises that the job depends on none."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic

from backends import able, every, many_times
from jobs import Job
from launches import until

from launcher_core.model.capability import Capability

Make = Callable[..., Job]
Timing = Callable[[str, float], None]

SURVIVES = Capability.ELASTIC | Capability.SURVIVES_HOST_LOSS


def test_the_backends_that_depend_on_no_node_are_these() -> None:
    assert able(SURVIVES) == ["etcd", "file"]


@many_times(SURVIVES)
def test_the_first_of_the_nodes_is_killed_and_the_others_go_on(job: Make, reformed: Timing, round: int) -> None:
    shrinks = job(3, "1:3")
    running = [shrinks.start(0)]
    shrinks.await_group(0)
    running += [shrinks.start(1), shrinks.start(2)]
    before = shrinks.await_group(0, 1, 2)
    assert before[0].node == "node0"  # it leads, and serves the store
    killed = monotonic()
    shrinks.nodes[0].crash()
    after = shrinks.await_group(1, 2, but=before)
    reformed("re-form after SIGKILL of the first node", max(note.born for note in after) - killed)
    assert {note.restarts for note in after} == {0}
    assert after[1].node == before[1].node  # whose rank there still is
    assert shrinks.notes.overlaps() == []
    shrinks.end(running[1:])


@many_times(SURVIVES, networked=True)
def test_the_first_of_the_nodes_is_cut_off_and_comes_back(job: Make, reformed: Timing, round: int) -> None:
    flaps = job(3, "1:3")
    running = [flaps.start(0)]
    flaps.await_group(0)
    running += [flaps.start(1), flaps.start(2)]
    before = flaps.await_group(0, 1, 2)
    cut = monotonic()
    flaps.nodes.cut(0)
    after = flaps.await_group(1, 2, but=before)
    reformed("re-form after the link of the first node went down", max(note.born for note in after) - cut)
    flaps.nodes.heal()
    whole = flaps.await_group(0, 1, 2, but=after)
    assert {note.restarts for note in whole} == {0}
    assert flaps.notes.overlaps() == []
    flaps.end(running)
    assert "this node was cut off from the register of etcd: no sign of life got through for" in running[0].err


@every(SURVIVES)
def test_the_first_of_the_nodes_is_stopped_for_a_while_and_taken_back(job: Make) -> None:
    sleeps = job(3, "2:3")
    running = sleeps.start_all()
    before = sleeps.await_group(0, 1, 2)
    running[0].signal(signal.SIGSTOP)
    until(lambda: {note.node for note in sleeps.notes.all() if note.world == 2} == {"node1", "node2"}, "others go on")
    running[0].signal(signal.SIGCONT)
    whole = sleeps.await_group(0, 1, 2, but=before)
    assert {note.restarts for note in whole} == {0}
    sleeps.end(running)


@every(SURVIVES)
def test_all_nodes_are_killed_and_the_same_job_begins_anew(job: Make) -> None:
    again = job(2, "2", "--max-restarts=1")
    again.start_all()
    before = again.await_group(0, 1)
    for node in again.nodes:
        node.crash()
    running = again.start_all()
    after = again.await_group(0, 1, but=before)
    assert {note.restarts for note in after} == {0}
    again.end(running)
