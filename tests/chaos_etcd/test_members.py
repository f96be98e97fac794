"""What may happen to the members of etcd, while a job forms and while its workers train."""

from __future__ import annotations

import signal
from collections.abc import Callable
from random import Random
from time import monotonic

import timings
from etcd_apart import Apart
from jobs import Job
from launches import until

Make = Callable[..., Job]
Check = Callable[[Job], None]

EXIT_HOST_LOST = 75
LEASE = 3
"""Seconds; workers without a sign of life of their node are killed when 3/4 of it are over."""
SAFE = 0.9 * LEASE
"""Seconds after a fault when workers still live if it was got over in time."""


def entries(cluster: Apart, job: Job) -> int:
    """How many nodes have put up an entry."""
    return len([pair for pair in cluster.pairs(job.name) if pair.key.startswith("nodes/")])


def go_on(job: Job, what: str, since: float, seconds: float = SAFE) -> None:
    """Wait until all workers have lived for so long since then; fail when one does not."""

    def lived() -> bool:
        assert all(note.lives for note in job.notes.all()), what
        return min(note.last for note in job.notes.all()) > since + seconds

    until(lived, "the workers go on")


def test_the_leader_is_killed_while_a_round_forms(
    job: Make, cluster: Apart, gone: Check, chance: Random, round: int
) -> None:
    forms = job("2:3", LEASE)
    enough = chance.randrange(3)
    print(f"{enough=}")
    leader = cluster.leader()
    running = [forms.start(0), forms.start(1)]
    until(lambda: entries(cluster, forms) >= enough, "entries are there")
    killed = monotonic()
    cluster.kill(leader)
    before = forms.await_group(0, 1)
    timings.note("form a round after SIGKILL of etcd's leader", max(note.born for note in before) - killed)
    cluster.mend()
    leader = cluster.leader()
    running.append(forms.start(2))
    until(lambda: entries(cluster, forms) == 3, "the third has put up its entry")
    killed = monotonic()
    cluster.kill(leader)
    after = forms.await_group(0, 1, 2)
    timings.note("grow after SIGKILL of etcd's leader", max(note.born for note in after) - killed)
    assert {note.restarts for note in after} == {0}
    assert forms.notes.overlaps() == []
    forms.end(running)
    gone(forms)


def test_one_member_is_lost_or_stands_still_while_workers_train(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    trains = job("1:3", LEASE)
    running = trains.start_all()
    before = trains.await_group(0, 1, 2)

    def got_over(what: str, begun: float) -> None:
        cluster.ask_any("/v3/kv/put", {"key": "eA==", "value": "eA=="})
        timings.note(f"write to etcd after {what}", monotonic() - begun)
        go_on(trains, what, begun)
        trains.nodes.heal()
        cluster.mend()

    leader = cluster.leader()
    begun = monotonic()
    cluster.kill(leader)
    got_over("SIGKILL of its leader", begun)

    asked = cluster.asked_by(trains.nodes[0])
    begun = monotonic()
    for index in asked:
        cluster.signal(index, signal.SIGSTOP)
    got_over("SIGSTOP of the member that a node talks to", begun)

    leader = cluster.leader()
    begun = monotonic()
    cluster.signal(leader, signal.SIGSTOP)
    got_over("SIGSTOP of its leader", begun)

    leader = cluster.leader()
    begun = monotonic()
    trains.nodes.cut(3 + leader)
    got_over("its leader was cut off", begun)

    assert trains.notes.group() == before or {n.pid for n in trains.notes.all()} == {n.pid for n in before}
    trains.end(running)
    gone(trains)


def test_all_members_are_started_again_within_the_time_of_a_lease(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    trains = job("1:3", 6)
    running = trains.start_all()
    before = trains.await_group(0, 1, 2)
    begun = monotonic()
    cluster.kill_all()
    cluster.mend()
    timings.note("start all of etcd again", monotonic() - begun)

    def all_live() -> bool:
        group = trains.notes.group()
        return len(group) == 3 and min(note.last for note in group) > begun + 6

    until(all_live, "three workers live")
    kept = {note.pid for note in trains.notes.group()} == {note.pid for note in before}
    timings.count("all of etcd started again", "workers went on" if kept else "workers were restarted")
    assert {note.restarts for note in trains.notes.all()} == {0}
    assert trains.notes.overlaps() == []
    trains.end(running)
    gone(trains)


def test_all_members_are_gone_for_longer_than_a_lease_and_then_for_ever(job: Make, cluster: Apart, round: int) -> None:
    waits = job("1:3", LEASE)
    waits.conf["join_timeout"] = "9"
    running = waits.start_all()
    before = waits.await_group(0, 1, 2)
    killed = monotonic()
    cluster.kill_all()
    until(lambda: not any(note.lives for note in waits.notes.all()), "all workers are killed")
    last = max(note.last for note in waits.notes.all())
    timings.note("kill all workers after all of etcd was gone", last - killed)
    assert last - killed < LEASE
    begun = monotonic()
    cluster.mend()
    after = waits.await_group(0, 1, 2, but=before)
    timings.note("form a round when all of etcd was started again", max(note.born for note in after) - begun)
    assert {note.restarts for note in after} == {0}
    assert waits.notes.overlaps() == []

    killed = monotonic()
    cluster.kill_all()
    ended = [one.wait() for one in running]
    timings.note("give up etcd (join_timeout=9)", monotonic() - killed)
    assert [one.code for one in ended] == [EXIT_HOST_LOST] * 3
    for one in ended:
        assert "this node was cut off from the register of etcd: no sign of life got through for 2.25 s" in one.err
        lost = "the register of etcd could not be reached for 9 s (--rdzv-conf join_timeout): no etcd answered within"
        assert lost in one.err
