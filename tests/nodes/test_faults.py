"""What may happen to a node or to its network, while the job goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic

from backends import APART, every, many_times
from jobs import Job
from launches import until

Make = Callable[..., Job]
Timing = Callable[[str, float], None]


@many_times()
def test_a_node_that_is_killed_is_taken_out_and_the_others_go_on(job: Make, reformed: Timing, round: int) -> None:
    shrinks = job(3, "1:3")
    running = shrinks.start_all()
    before = shrinks.await_group(0, 1, 2)
    lost = 1 + round % 2
    killed = monotonic()
    shrinks.nodes[lost].crash()
    after = shrinks.await_group(0, 3 - lost, but=before)
    reformed("re-form after SIGKILL of an agent and its workers", max(note.born for note in after) - killed)
    assert {note.restarts for note in after} == {0}
    assert shrinks.notes.overlaps() == []
    del running[lost]
    shrinks.end(running)


@many_times(networked=True)
def test_a_node_that_is_cut_off_ends_its_workers_before_the_others_begin_and_comes_back(
    job: Make, reformed: Timing, round: int
) -> None:
    flaps = job(3, "1:3")
    flaps.keep_for(60)
    running = flaps.start_all()
    before = flaps.await_group(0, 1, 2)
    cut = monotonic()
    flaps.nodes.cut(1 + round % 2)
    after = flaps.await_group(0, 2 - round % 2, but=before)
    reformed("re-form after a link went down", max(note.born for note in after) - cut)
    flaps.nodes.heal()
    healed = monotonic()
    whole = flaps.await_group(0, 1, 2, but=after)
    reformed("re-form after the link was back", max(note.born for note in whole) - healed)
    assert {note.restarts for note in whole} == {0}
    assert flaps.notes.overlaps() == []
    flaps.end(running)


@many_times()
def test_an_agent_that_is_stopped_for_a_while_is_taken_out_and_back_in(job: Make, reformed: Timing, round: int) -> None:
    sleeps = job(3, "1:3")
    sleeps.keep_for(60)
    running = sleeps.start_all()
    before = sleeps.await_group(0, 1, 2)
    stopped = monotonic()
    running[2].signal(signal.SIGSTOP)
    names = ["node0", "node1"]

    def formed() -> object:
        found = [note for note in sleeps.notes.all() if note.world == 2 and note.lives]
        return found if sorted(note.node for note in found) == names else None

    after = until(formed, "the others re-form")
    assert isinstance(after, list)
    reformed("re-form after SIGSTOP of an agent", max(note.born for note in after) - stopped)
    running[2].signal(signal.SIGCONT)
    whole = sleeps.await_group(0, 1, 2, but=before)
    assert {note.restarts for note in whole} == {0}
    sleeps.end(running)


@many_times()
def test_an_agent_that_is_killed_takes_its_workers_along_before_the_others_begin(
    job: Make, reformed: Timing, round: int
) -> None:
    shrinks = job(3, "1:3")
    running = shrinks.start_all("--nproc-per-node=2")
    until(lambda: len(shrinks.notes.group()) == 6, "six workers form a round")
    killed = monotonic()
    running[1].signal(signal.SIGKILL)
    until(lambda: len(shrinks.notes.group()) == 4, "four workers form a round")
    reformed("re-form after SIGKILL of an agent", max(note.born for note in shrinks.notes.group()) - killed)
    assert {note.node for note in shrinks.notes.group()} == {"node0", "node2"}
    assert shrinks.notes.overlaps() == []
    shrinks.end([running[0], running[2]])


@every(networked=True)
def test_a_link_that_is_down_for_a_moment_costs_nothing(job: Make) -> None:
    blinks = job(2, "2")
    blinks.lose_after(10, beats=10)
    blinks.keep_for(30)
    running = blinks.start_all()
    before = blinks.await_group(0, 1)
    for _ in range(3):
        down = max(note.last for note in blinks.notes.all())
        blinks.nodes.cut(1)
        until(lambda down=down: min(note.last for note in blinks.notes.all()) > down + 0.7, "the workers go on")
        blinks.nodes.heal()
        until(lambda down=down: min(note.last for note in blinks.notes.all()) > down + 2, "the workers go on")
    assert {note.pid for note in blinks.notes.all()} == {note.pid for note in before}
    blinks.end(running)


@every(networked=True)
def test_a_job_ends_well_while_a_node_is_cut_off_at_the_exit_barrier(job: Make) -> None:
    ends = job(3, "3", "--exit-barrier-timeout=20")
    ends.keep_for(60)
    running = ends.start_all()
    ends.await_group(0, 1, 2)
    ends.nodes.cut(2)
    ends.notes.stop()
    until(lambda: not [note for note in ends.notes.all() if note.lives], "all workers have ended")
    ends.nodes.heal()
    ends.end(running)


@every(networked=True)
def test_a_node_that_is_cut_off_while_the_others_wait_for_more_is_taken_back(job: Make) -> None:
    waits = job(3, "3")
    waits.keep_for(60)
    running = [waits.start(0), waits.start(1)]
    until(lambda: "2 of 3 nodes are here" in running[0].err, "the second node has been let in")
    waits.nodes.cut(1)
    until(lambda: APART[waits.backend] in running[1].err, "the node notices")
    running.append(waits.start(2))
    waits.nodes.heal()
    waits.await_group(0, 1, 2)
    waits.end(running)
