"""Which failure ended a job, settled among nodes: changes in, verdicts out."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.model.job import Node
from launcher_core.rules.blame import Failed as Worker
from launcher_core.rules.round import (
    SETTLE,
    End,
    Failed,
    Finished,
    Join,
    Known,
    Leave,
    Limits,
    Phase,
    Round,
    Tick,
    apply,
)
from launcher_core.rules.settling import MOST_NODES
from launcher_core.rules.testimony import statement

LIMITS = Limits(3, 3)


def told(node: str, rank: int, message: str = "", at: float = 0.0, **more: Any) -> dict[str, Any]:
    return statement(node, Worker(rank, 0, 100 + rank, 1, at, message=message, **more))


ECHO = told("host-a", 0, "Connection reset by peer")
CAUSE = told("host-b", 1, "bad shard")


def job(size: int = 3) -> Round:
    """A round of hosts a, b, c, that runs."""
    state = Round()
    for name in "abcdefghijkl"[:size]:
        state, _ = apply(state, Join(Node(name, f"host-{name}", 1)), 0.0, Limits(size, size))
    assert state.phase is Phase.RUNNING
    return state


def play(*changes: tuple[float, Any], size: int = 3) -> tuple[Round, list[list[End]]]:
    """The round after these changes, each at its time, and who was told what after each."""
    state, told = job(size), []
    for now, change in changes:
        state, outcomes = apply(state, change, now, LIMITS)
        told.append(outcomes)
    return state, told


def settled(told: list[End]) -> tuple[str, set[str]]:
    """The node of the verdict, and who was told of it; it is the same for all."""
    assert all(one.settled and one.verdict == told[0].verdict for one in told)
    assert told[0].verdict is not None
    return told[0].verdict["node"], {one.to for one in told}


def test_all_are_told_at_once_to_stop_and_then_what_it_was() -> None:
    state, (first, *_, last) = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)),
        (10.2, Known("b", 0, CAUSE, 10.1)),
        (10.3, Known("b", 0, None, None, "rank 1 exit code 1")),
        (10.4, Known("a", 0, ECHO, 10.0, "rank 0 exit code 1")),
        (10.5, Known("c", 0, None, None, "rank 2 stopped by the launcher")),
    )
    assert [(one.to, one.settled, one.reason) for one in first] == [(name, False, "boom") for name in "abc"]
    assert settled(last) == ("host-b", {"a", "b", "c"})
    assert last[0].verdict["reason"].startswith("rank 0 on host-a was told of before, but failed of a lost connection")
    assert last[0].aftermath == (
        ("host-b", "rank 1 exit code 1"),
        ("host-a", "rank 0 exit code 1"),
        ("host-c", "rank 2 stopped by the launcher"),
    )
    assert (state.phase, state.deadline) == (Phase.OVER, None)


def test_who_does_not_tell_is_not_waited_for_longer_than_it_takes_to_settle() -> None:
    _, told = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (10.9, Tick()), (10.0 + SETTLE, Tick()), (12.0, Tick())
    )
    assert [len(one) for one in told] == [3, 0, 3, 0]
    assert settled(told[2])[0] == "host-a"
    assert "no node has told of another failure" in told[2][0].verdict["reason"]


def test_what_comes_after_the_verdict_changes_nothing() -> None:
    _, told = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (11.0, Tick()), (11.1, Known("b", 0, CAUSE, 10.1, "told"))
    )
    assert told[2] == []


def test_a_failure_without_testimony_is_the_last_word_at_once_and_so_is_one_of_a_single_node() -> None:
    assert [one.settled for one in play((10.0, Failed("a", 0, "boom")))[1][0]] == [True] * 3
    (only,) = play((10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), size=1)[1][0]
    assert (only.settled, only.verdict["node"]) == (True, "host-a")


def test_a_node_that_was_lost_without_a_word_explains_lost_connections() -> None:
    _, told = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (10.1, Leave("b", "its connection broke", silent=True)),
        (10.2, Known("a", 0, None, None, "x")), (10.3, Known("c", 0, None, None, "y")),
    )  # fmt: skip
    verdict = told[3][0].verdict
    assert (verdict["kind"], verdict["node"], verdict["text"]) == (
        "node_lost", "host-b", "host-b is gone: its connection broke"
    )  # fmt: skip
    assert ("host-b", "gone: its connection broke") in told[3][0].aftermath


def test_a_node_that_goes_with_a_word_or_beside_a_failure_that_explains_itself_is_not_the_cause() -> None:
    for first, silent in ((ECHO, False), (told("host-a", 0, "bad"), True)):
        _, ends = play((10.0, Failed("a", 0, "boom", 0, first, 10.0)), (10.1, Leave("b", "x", silent)), (11.0, Tick()))
        assert settled(ends[2])[0] == "host-a"


def test_nodes_that_had_finished_are_not_waited_for() -> None:
    _, told = play(
        (9.0, Finished("c", 0)),
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)),
        (10.1, Known("a", 0, None, None, "x")),
        (10.2, Known("b", 0, CAUSE, 10.0, "y")),
    )
    assert settled(told[3]) == ("host-b", {"a", "b", "c"})


def test_who_comes_meanwhile_is_told_now_and_again_when_it_is_settled() -> None:
    _, told = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (10.1, Join(Node("late", "host-l", 1))), (11.0, Tick())
    )
    assert [(one.to, one.settled) for one in told[1]] == [("late", False)]
    assert settled(told[2])[1] == {"a", "b", "c", "late"}


@pytest.mark.parametrize("change", [Known("x", 0, CAUSE, 9.0, "t"), Known("b", 7, CAUSE, 9.0, "t")])
def test_what_strangers_say_or_is_of_another_round_does_not_count(change: Known) -> None:
    _, told = play((10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (10.1, change), (11.0, Tick()))
    assert settled(told[2])[0] == "host-a"


def test_a_second_report_of_a_failure_counts_as_testimony() -> None:
    _, told = play(
        (10.0, Failed("a", 0, "boom", 0, ECHO, 10.0)), (10.1, Failed("b", 0, "bang", 0, CAUSE, 10.05)), (11.0, Tick())
    )
    assert settled(told[2])[0] == "host-b"


def test_ten_minutes_between_the_clocks_of_nodes_change_nothing() -> None:
    """The times that nodes write down are theirs; only those of the one who collects have a say."""
    lost = Failed("a", 0, "boom", 0, ECHO, 10.0)
    for late in (-600.0, 600.0):
        cause = told("host-b", 1, "bad shard", at=5000.0 + late)
        _, ends = play((10.0, lost), (10.1, Failed("b", 0, "x", 0, cause, 10.05)), (11, Tick()))
        assert settled(ends[2])[0] == "host-b"


def test_of_very_many_nodes_not_all_are_told_of() -> None:
    state = Round()
    for number in range(MOST_NODES + 9):
        state, _ = apply(state, Join(Node(str(number), f"n{number}", 1)), 0.0, Limits(MOST_NODES + 9, MOST_NODES + 9))
    state, _ = apply(state, Failed("0", 0, "boom", 0, ECHO, 1.0), 1.0, LIMITS)
    for number in range(MOST_NODES + 9):
        state, last = apply(state, Known(str(number), 0, None, None, "x" * 5000), 1.5, LIMITS)
    assert len(last) == MOST_NODES + 9
    assert (len(last[0].aftermath), len(last[0].aftermath[0][1])) == (MOST_NODES, 600)
