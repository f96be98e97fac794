"""Whose heartbeats are overdue."""

from __future__ import annotations

import pytest

from launcher_core.rules.apart import of_late
from launcher_core.rules.hang import Mode, Sample, Track
from launcher_core.rules.heartbeat import Beat, is_excused, overdue
from launcher_core.rules.stacks import Call, Stack

NEVER, AT_40 = Beat(), Beat(40.0)
CHECKPOINT = Beat(10.0, "checkpoint", 20.0, 60.0)


@pytest.mark.parametrize(
    "beats, now, late",
    [
        ({0: NEVER}, 1000.0, {}),
        ({0: AT_40, 1: NEVER}, 100.0, {}),
        ({0: AT_40, 1: Beat(45.0)}, 101.0, {0: "has given no heartbeat for 61 s"}),
        ({0: CHECKPOINT}, 80.0, {}),
        ({0: CHECKPOINT, 1: AT_40}, 81.0, {0: "has been in section 'checkpoint' for 61 s, 60 s at most"}),
        ({0: CHECKPOINT, 1: AT_40}, 200.0, {0: "has been in section 'checkpoint' for 180 s, 60 s at most"}),
        ({0: Beat(10.0, "evaluate", 20.0, None)}, 9999.0, {}),
        ({0: Beat(10.0, "evaluate", 20.0, None), 1: AT_40}, 9999.0, {}),
        ({0: Beat(0.0, "load", 20.0, 5.0)}, 30.0, {0: "has been in section 'load' for 10 s, 5 s at most"}),
    ],
)
def test_whose_heartbeats_are_overdue(beats: dict[int, Beat], now: float, late: dict[int, str]) -> None:
    assert overdue(beats, now, 60.0) == late


def test_after_an_excuse_all_the_time_is_given_once_more() -> None:
    assert overdue({0: AT_40}, 200.0, 60.0, excused_at=150.0) == {}
    assert overdue({0: AT_40}, 211.0, 60.0, excused_at=150.0) == {0: "has given no heartbeat for 171 s"}


def test_a_section_is_an_excuse_until_its_time_is_over() -> None:
    assert [is_excused(CHECKPOINT, now) for now in (21.0, 80.0, 81.0)] == [True, True, False]
    assert not is_excused(AT_40, 41.0)
    assert is_excused(Beat(0.0, "evaluate", 20.0, None), 9999.0)


def track(wait: str) -> Track:
    return Track(Sample(90.0, 7, "S", wait), Mode.STILL, 0.0, 0.0, 0.0)


def test_of_several_that_are_late_the_one_that_stands_apart_is_blamed() -> None:
    late = {0: "has given no heartbeat for 61 s", 1: "has given no heartbeat for 61 s"}
    stacks = {1: Stack((Call("load", "/home/me/train.py", 41),))}
    verdict = of_late(late, {0: track("socket"), 1: track("futex")}, stacks, 90.0)
    assert verdict.ranks == (1,)
    assert verdict.text == "rank 1 (pid 7) has given no heartbeat for 61 s, in load, train.py:41"
    verdict = of_late(late, {0: track("socket"), 1: track("socket")}, {}, 90.0)
    assert verdict.text == "ranks 0-1 have given no heartbeat for 61 s"
