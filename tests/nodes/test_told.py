"""What people are told is the same over every backend, and so are the exit codes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from backends import able, every
from jobs import Job
from launches import until

from launcher_core.model.capability import Capability

Make = Callable[..., Job]


@every()
def test_the_job_fails_on_one_node_and_the_other_says_where_and_why(job: Make) -> None:
    fails = job(2, "2")
    running = fails.start_all()
    group = fails.await_group(0, 1)
    victim = group[1]
    os.kill(victim.pid, signal.SIGUSR1)
    ended = [one.wait() for one in running]
    here = int(victim.node.removeprefix("node"))
    why = f"rank 1 (local rank 0, pid {victim.pid}) was killed by signal {int(signal.SIGUSR1)} on {victim.node}"
    assert [one.code for one in ended] == [1, 1]
    assert f"the job is over: {why}; stopping the workers" in ended[1 - here].err
    assert all(f"FAILED: rank 1 on {victim.node} was ended by SIGUSR1\n" in one.err for one in ended)
    assert "the job is over" not in ended[here].err


@every()
def test_a_node_that_is_told_to_end_leaves_with_its_reason_and_costs_nothing(job: Make) -> None:
    shrinks = job(2, "1:2")
    running = shrinks.start_all()
    before = shrinks.await_group(0, 1)
    running[1].signal(signal.SIGTERM)
    assert running[1].wait().code == 128 + signal.SIGTERM
    after = shrinks.await_group(0, but=before)
    assert {note.restarts for note in after} == {0}
    shrinks.end(running[:1])
    assert "node1 is gone: stopped by signal 15; regrouping, which costs no restart" in running[0].err


@every()
def test_a_spare_ends_with_the_job_that_fails_and_says_why(job: Make) -> None:
    full = job(2, "1")
    running = [full.start(0)]
    (note,) = full.await_group(0)
    running.append(full.start(1))
    until(lambda: "this node is a spare" in running[1].err, "the second is told that it is a spare")
    os.kill(note.pid, signal.SIGKILL)
    assert [one.wait().code for one in running] == [1, 1]
    assert "the job failed on another node: rank 0 (local rank 0, pid " in running[1].err
    assert running[1].err.count("the job is full") == 1


@every()
def test_a_node_that_waited_long_enough_at_the_exit_barrier_has_succeeded(job: Make) -> None:
    ends = job(2, "2", "--exit-barrier-timeout=0.5")
    running = ends.start_all()
    group = ends.await_group(0, 1)
    early = next(note for note in group if note.node == "node1")
    ends.notes.stop(early.rank)
    result = running[1].wait()
    assert result.code == 0
    assert result.err.endswith("the other nodes did not finish in time (--exit-barrier-timeout); this one succeeded\n")
    lives = [note.node for note in ends.notes.all() if note.lives]
    assert (lives, running[0].err) == (["node0"], "")  # it goes on, and is told nothing
    ends.end(running[:1])


@every()
def test_the_same_job_begins_anew_when_the_one_before_has_ended(job: Make) -> None:
    twice = job(2, "2")
    running = twice.start_all()
    before = twice.await_group(0, 1)
    twice.end(running)
    (twice.notes.folder / "stop").unlink()
    running = twice.start_all()
    twice.await_group(0, 1, but=before)
    twice.end(running)
    assert able(Capability.ELASTIC) == ["c10d", "etcd", "file"]
