"""What may happen to the agents and their network, over a cluster that is well."""

from __future__ import annotations

import signal
from collections.abc import Callable
from time import monotonic

import timings
from etcd_apart import Apart
from jobs import Job
from launches import until

Make = Callable[..., Job]
Check = Callable[[Job], None]

LEASE = 2
"""Seconds, the fewest that the plugin takes."""
MARGIN = 3.0
"""Seconds, beside the time of a lease: etcd looks for leases that have ended twice a second, the last call takes
0.3 s, and workers need a moment to be born; the rest is for a machine that is busy."""


def in_order(cluster: Apart, job: Job) -> list[str]:
    """The ids of the nodes that have put up an entry, the one first that writes for all."""
    return [pair.key.removeprefix("nodes/") for pair in cluster.pairs(job.name) if pair.key.startswith("nodes/")]


def newcomer(cluster: Apart, job: Job, known: list[str]) -> str:
    """The id of the node that puts up its entry next."""
    return str(until(lambda: next((id for id in in_order(cluster, job) if id not in known), ""), "an entry is there"))


def test_a_node_that_is_cut_off_ends_its_workers_before_the_others_begin_and_comes_back(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    flaps = job("2:3", LEASE)
    running = [flaps.start(0)]
    newcomer(cluster, flaps, [])
    running += [flaps.start(1), flaps.start(2)]
    before = flaps.await_group(0, 1, 2)
    lost = (0, 2)[round % 2]
    left = [number for number in range(3) if number != lost]
    cut = monotonic()
    flaps.nodes.cut(lost)
    after = flaps.await_group(*left, but=before)
    seconds = max(note.born for note in after) - cut
    timings.note(f"re-form after {'the node that leads' if lost == 0 else 'another node'} was cut off", seconds)
    assert seconds < LEASE + MARGIN
    flaps.nodes.heal()
    healed = monotonic()
    whole = flaps.await_group(0, 1, 2, but=after)
    timings.note("take a node in that was cut off", max(note.born for note in whole) - healed)
    assert {note.restarts for note in whole} == {0}
    assert flaps.notes.overlaps() == []
    flaps.end(running)
    said = running[lost].err
    assert "this node was cut off from the register of etcd: no sign of life got through for 1.5 s" in said
    gone(flaps)


def test_agents_are_killed_the_one_that_writes_for_all_and_another(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    shrinks = job("1:3", LEASE)
    alive = {0: shrinks.start(0)}
    ids = {0: newcomer(cluster, shrinks, [])}
    for number in (1, 2):
        alive[number] = shrinks.start(number)
        ids[number] = newcomer(cluster, shrinks, [*ids.values()])

    def kill(number: int, what: str) -> float:
        assert (in_order(cluster, shrinks)[0] == ids.pop(number)) == (what == "the agent that leads")
        killed = monotonic()
        one = alive.pop(number)
        one.signal(signal.SIGKILL)
        one.wait()
        return killed

    killed = kill(0, "the agent that leads")
    after = shrinks.await_group(1, 2)
    timings.note("form a round after SIGKILL of the agent that leads", max(note.born for note in after) - killed)

    alive[0] = shrinks.start(0)
    ids[0] = newcomer(cluster, shrinks, [*ids.values()])
    group = shrinks.await_group(0, 1, 2)
    for what, number in (("the agent that leads", 1), ("another agent", 0)):
        killed = kill(number, what)
        group = shrinks.await_group(*alive, but=group)
        seconds = max(note.born for note in group) - killed
        timings.note(f"re-form after SIGKILL of {what}", seconds)
        assert seconds < LEASE + MARGIN
    assert {note.restarts for note in shrinks.notes.all()} == {0}
    assert shrinks.notes.overlaps() == []
    shrinks.end([*alive.values()])
    gone(shrinks)
