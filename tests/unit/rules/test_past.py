"""What ended the rounds before, counted and told."""

from __future__ import annotations

from launcher_core.model.news import Cut, Regroup
from launcher_core.rules.past import causes, told


def failed(pid: int, code: int = 3) -> Regroup:
    return Regroup(0, f"rank 1 (local rank 0, pid {pid}) exited with code {code} on node-b", restart=True)


def test_one_rank_that_fails_alike_is_one_cause_whatever_its_pid() -> None:
    found = causes([failed(7), Regroup(1, "node-c joined"), failed(9), failed(11, 4), Cut("no answer"), failed(12)])
    assert [(one["kind"], one["count"]) for one in found] == [
        ("members", 1), ("failure", 1), ("cut off", 1), ("failure", 3)
    ]  # fmt: skip
    assert told(found) == [
        "once: rank 1 exited with code 4 on node-b",
        "3 times: rank 1 exited with code 3 on node-b",
        "regroup once: node-c joined",
        "cut off once: no answer",
    ]


def test_two_are_twice_and_none_is_nothing() -> None:
    assert told(causes([failed(7), failed(8)])) == ["twice: rank 1 exited with code 3 on node-b"]
    assert told(causes([])) == []


def test_of_very_many_causes_the_most_recent_are_told() -> None:
    lines = told(causes([failed(1, code) for code in range(1, 10)]))
    assert len(lines) == 4
    assert (lines[0], lines[-1]) == ("6 other causes", "once: rank 1 exited with code 9 on node-b")
