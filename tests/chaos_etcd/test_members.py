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

ELECTIONS = True
EXIT_HOST_LOST = 75
LEASE = 6
"""Seconds, as by default; workers without a sign of life of their node are killed when 3/4 of it are over."""
BEAT = 1.1
"""Seconds, a little more than from one sign of life to the next."""
SHORT = 3
"""Seconds of the lease where all members are gone for longer."""
GIVE_UP = 6
"""Seconds of --rdzv-conf join_timeout where they do not come back."""


def entries(cluster: Apart, job: Job) -> int:
    """How many nodes have put up an entry."""
    return len([pair for pair in cluster.pairs(job.name) if pair.key.startswith("nodes/")])


def get_over(job: Job, cluster: Apart, what: str, begun: float) -> None:
    """Wait until etcd takes writes, and a sign of life of each node that was given since: elections lengthen leases."""
    cluster.ask_any("/v3/kv/put", {"key": "eA==", "value": "eA=="})
    writes = monotonic()
    timings.note(f"write to etcd after {what}", writes - begun)

    def renewed() -> bool:
        left = cluster.seconds_left(job.name) if monotonic() > writes + BEAT else []
        return len(left) == len(job.nodes) and min(left) >= LEASE - 1

    until(renewed, f"a sign of life of each node after {what}")


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


def test_workers_train_on_when_the_leader_or_the_member_that_is_asked_is_killed_or_stands_still(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    trains = job("3", LEASE)
    running = trains.start_all()
    before = trains.await_group(0, 1, 2)

    begun, leader = monotonic(), cluster.leader()
    cluster.kill(leader)
    get_over(trains, cluster, "SIGKILL of its leader", begun)
    cluster.mend()

    begun = monotonic()
    for index in cluster.asked_by(trains.nodes[0]):
        cluster.signal(index, signal.SIGSTOP)
    get_over(trains, cluster, "SIGSTOP of a member that a node talks to", begun)
    cluster.mend()

    begun, leader = monotonic(), cluster.leader()
    if round % 2:
        trains.nodes.cut(len(trains.nodes) + leader)
    else:
        cluster.signal(leader, signal.SIGSTOP)
    get_over(trains, cluster, "its leader was cut off" if round % 2 else "SIGSTOP of its leader", begun)

    assert {note.pid for note in trains.notes.all()} == {note.pid for note in before}
    trains.end(running)
    gone(trains)


def test_all_members_are_started_again_within_the_time_of_a_lease(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    trains = job("1:3", LEASE)
    running = trains.start_all()
    before = trains.await_group(0, 1, 2)
    begun = monotonic()
    cluster.kill_all()
    cluster.mend()
    get_over(trains, cluster, "all its members were started again", begun)
    after = trains.await_group(0, 1, 2)
    timings.count("all members were started again", f"workers {'went on' if before[0].lives else 'were restarted'}")
    assert {note.restarts for note in after} == {0}
    assert trains.notes.overlaps() == []
    trains.end(running)
    gone(trains)


def test_all_members_are_gone_for_longer_than_a_lease_and_workers_are_killed_before(
    job: Make, cluster: Apart, gone: Check, round: int
) -> None:
    waits, gives_up = job("1:3", SHORT), job("1:3", SHORT)
    gives_up.conf["join_timeout"] = f"{GIVE_UP}"
    patient, hasty = waits.start_all(), gives_up.start_all()
    before = waits.await_group(0, 1, 2)
    gives_up.await_group(0, 1, 2)
    killed = monotonic()
    cluster.kill_all()
    for one in (waits, gives_up):
        until(lambda one=one: not any(note.lives for note in one.notes.all()), "all workers are killed")
        last = max(note.last for note in one.notes.all())
        timings.note("kill all workers after all of etcd was gone", last - killed)
        assert last - killed < SHORT  # when others could have taken the lease

    ended = [one.wait() for one in hasty]
    timings.note(f"give up etcd, join_timeout={GIVE_UP}", monotonic() - killed)
    assert [one.code for one in ended] == [EXIT_HOST_LOST] * 3
    lost = f"the register of etcd could not be reached for {GIVE_UP} s (--rdzv-conf join_timeout): no etcd answered"
    assert [one.err for one in ended if lost not in one.err] == []

    begun = monotonic()
    cluster.mend()
    after = waits.await_group(0, 1, 2, but=before)
    timings.note("form a round once all of etcd was started again", max(note.born for note in after) - begun)
    assert {note.restarts for note in after} == {0}
    assert waits.notes.overlaps() == []
    waits.end(patient)
    gone(waits)
    cut = "this node was cut off from the register of etcd: no sign of life got through for 2.25 s; trying to reach it"
    assert [one.err for one in (*patient, *hasty) if cut not in one.err] == []
    assert [
        one.err
        for one in patient
        if "launcher: waiting for 1 to 3 nodes; no etcd answered within 1.5 s (" not in one.err
    ] == []
