"""Who holds a group up, and how that is said."""

from __future__ import annotations

import pytest

from launcher_core.rules.apart import WORDS, Verdict, culprits_of, decide
from launcher_core.rules.hang import Mode, Sample, Track
from launcher_core.rules.stacks import Call, Stack

REDUCE = Stack(
    (
        Call("all_reduce", "/lib/python3.11/site-packages/torch/distributed/distributed_c10d.py", 9),
        Call("main", "train.py", 50),
    )
)
LOAD = Stack((Call("load", "/home/me/train.py", 41), Call("main", "/home/me/train.py", 60)))


def still(wait: str = "socket", state: str = "S", pid: int = 0) -> Track:
    """One whose main thread has waited for a minute."""
    mode = {"T": Mode.STOPPED, "D": Mode.BLOCKED, "": Mode.ENDED}.get(state, Mode.STILL)
    return Track(Sample(60.0, pid, state, wait), mode, 0.0, 0.0, 0.0)


def runs(mode: Mode, wait: str = "") -> Track:
    """One that has run all the while, and shows nothing for it."""
    return Track(Sample(60.0, 0, "R", wait), mode, 0.0, 0.0, 60.0)


SPINS, MOVES = runs(Mode.SPINNING), runs(Mode.MOVING, "sleep")
WORKS = Track(Sample(60.0), Mode.WORKING, 0.0, 60.0, 60.0)


@pytest.mark.parametrize(
    "tracks, stacks, culprits",
    [
        ([still(), still(), still("futex")], {}, (2,)),
        ([still(), still("pipe")], {}, (1,)),
        ([still("poll"), still(), still("sleep")], {}, (2,)),
        ([still(), SPINS], {}, (1,)),
        ([still("poll"), MOVES, still()], {}, (1,)),
        ([SPINS, SPINS, still("futex")], {}, (2,)),
        ([still("futex"), still("futex"), still("poll")], {}, (2,)),
        ([still("futex"), still("pipe"), still("poll")], {}, (0, 1)),
        ([SPINS, SPINS, still("socket")], {}, (2,)),
        ([still("futex"), still("futex"), still("pipe")], {}, (2,)),
        ([still("futex"), still("sleep")], {}, (1,)),
        ([still("futex"), SPINS], {}, (1,)),
        ([still("futex")], {}, (0,)),
        ([still(), still(), still(state="T")], {}, (2,)),
        ([still(), still(state="D")], {}, (1,)),
        ([still(), still()], {}, ()),
        ([still(), still(state="")], {}, (1,)),
        ([still("futex"), still("futex"), still("futex")], {0: REDUCE, 1: REDUCE, 2: LOAD}, (2,)),
        ([still("futex"), still("futex")], {0: LOAD, 1: REDUCE}, (0,)),
        ([SPINS, SPINS, SPINS], {0: REDUCE, 1: LOAD, 2: REDUCE}, (1,)),
        ([still(), still()], {0: REDUCE, 1: LOAD}, (1,)),
        ([still(), still(), still()], {0: LOAD, 1: LOAD, 2: Stack((Call("wait", "train.py", 2),))}, (2,)),
        ([still("futex"), still("futex")], {0: REDUCE, 1: REDUCE}, ()),
    ],
)
def test_who_stands_apart(tracks: list[Track], stacks: dict[int, Stack], culprits: tuple[int, ...]) -> None:
    assert culprits_of(dict(enumerate(tracks)), stacks) == culprits


def test_what_rests_on_a_worker_that_runs_takes_twice_as_long() -> None:
    tracks = {0: still(), 1: SPINS}
    assert decide(tracks, {}, 60.0, 60.0) is None
    assert decide(tracks, {}, 60.0, 30.0) == Verdict(
        (1,), "rank 1 has used a CPU for 60 s without any output or input; rank 0 waits at a socket"
    )


def test_where_all_run_only_the_stacks_can_tell_and_only_after_twice_as_long() -> None:
    tracks, stacks = {0: SPINS, 1: MOVES, 2: SPINS}, {0: REDUCE, 1: LOAD, 2: REDUCE}
    assert decide(tracks, stacks, 60.0, 40.0) is None
    verdict = decide(tracks, stacks, 60.0, 30.0)
    assert verdict is not None
    assert verdict.text.startswith("rank 1 has waited in sleep, in small steps, for 60 s, in load, train.py:41")
    assert not verdict.sure
    assert decide(tracks, {0: LOAD, 1: LOAD, 2: Stack()}, 60.0, 30.0) is None
    assert decide(tracks, {0: REDUCE, 1: REDUCE, 2: REDUCE}, 60.0, 30.0) is None


def test_busy_peers_do_not_delay_the_verdict_on_one_that_waits() -> None:
    verdict = decide({0: SPINS, 1: SPINS, 2: still("pipe", pid=4711)}, {}, 60.0, 60.0)
    assert verdict is not None
    assert verdict.text == "rank 2 (pid 4711) has waited for a pipe or FIFO for 60 s; ranks 0-1 use a CPU"


def test_the_place_in_the_users_code_is_named_and_the_stacks_are_folded() -> None:
    verdict = decide({0: still("futex"), 1: still(), 2: still()}, {0: LOAD, 1: REDUCE, 2: REDUCE}, 60.0, 60.0)
    assert verdict == Verdict(
        (0,),
        "rank 0 has waited for a lock (futex) for 60 s, in load, train.py:41; ranks 1-2 wait at a socket",
        (
            "rank 0: in load, train.py:41",
            "    load (/home/me/train.py:41)",
            "    main (/home/me/train.py:60)",
            "ranks 1-2: in all_reduce, train.py:50",
            "    all_reduce (/lib/python3.11/site-packages/torch/distributed/distributed_c10d.py:9)",
            "    main (train.py:50)",
        ),
    )


def test_a_stopped_worker_is_named_while_the_others_work() -> None:
    verdict = decide({0: WORKS, 1: still(state="T", pid=7)}, {}, 61.0, 60.0)
    assert verdict == Verdict((1,), "rank 1 (pid 7) has been stopped (state T) for 61 s")


def test_several_that_stand_apart_are_named_together() -> None:
    verdict = decide({0: still(), 1: still(state="T"), 2: still(state="T")}, {}, 61.0, 60.0)
    assert verdict is not None
    assert verdict.text == "ranks 1-2 have been stopped (state T) for 61 s; rank 0 waits at a socket"


def test_where_all_are_alike_nobody_is_named() -> None:
    verdict = decide({0: still("child"), 1: still("child")}, {}, 61.0, 60.0)
    assert verdict == Verdict(
        (),
        "no worker of this node has made progress for 61 s, and none stands apart: "
        "ranks 0-1 wait for a process that they started",
    )


def test_one_that_has_ended_already_is_what_the_others_wait_for() -> None:
    verdict = decide({0: still(state=""), 1: still()}, {}, 60.0, 60.0)
    assert verdict is not None
    assert verdict.text == "rank 0 has ended already; rank 1 waits at a socket"


@pytest.mark.parametrize("wait", WORDS)
def test_there_are_words_for_every_wait(wait: str) -> None:
    verdict = decide({0: still(wait)}, {}, 60.0, 60.0)
    assert verdict == Verdict((0,), f"rank 0 has waited {WORDS[wait]} for 60 s")
