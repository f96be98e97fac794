"""Which node it was, when none comes in its place."""

from __future__ import annotations

from typing import Any

import pytest
from histories import node, running

from launcher_core.errors import StartError
from launcher_core.model.job import Place
from launcher_core.model.news import Cut, Formed, Regroup
from launcher_core.rules.lost import lost
from launcher_core.rules.round import Dismiss, Leave, Limits, apply
from launcher_core.rules.steps import Leave as Goes
from launcher_core.rules.steps import StartFailed
from launcher_core.rules.supervise import Agent, step


def told(reason: str) -> Regroup:
    """What the others are told when a node leaves with this reason."""
    limits = Limits(2, 2)
    state, _ = apply(running(limits, node("a"), node("b")), Leave("b", reason), 1.0, limits)
    _, outcomes = apply(running(limits, node("a"), node("b")), Leave("b", reason), 1.0, limits)
    (one,) = (outcome for outcome in outcomes if isinstance(outcome, Dismiss))
    assert one.reason == state.reason
    return Regroup(one.round, one.reason, one.restart)


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("its connection broke", "host-b is gone: its connection broke"),
        ("stopped by signal 15", "host-b is gone: stopped by signal 15 (SIGTERM)"),
        ("no sign of life for 6 s", "host-b is gone: no sign of life for 6 s"),
    ],
)
def test_a_node_that_is_gone_is_named_with_its_reason(reason: str, text: str) -> None:
    found: Any = lost([told(reason)])
    assert (found["node"], found["kind"], found["text"]) == ("host-b", "node_lost", text)


def test_a_node_that_could_not_start_its_workers_says_so_to_the_others() -> None:
    agent, _ = step(Agent(1), Formed(Place(0, 0, 2, 0, 2, 0, 2, "h", 1)))
    _, effects = step(agent, StartFailed(StartError("no such file: './train'")))
    (leave,) = (effect for effect in effects if isinstance(effect, Goes))
    found: Any = lost([told(leave.reason)])
    assert (found["node"], found["kind"]) == ("host-b", "start_failed")
    assert found["text"] == "no such file: './train' (on host-b)"


@pytest.mark.parametrize(
    "past",
    [
        [],
        [Cut("this node was cut off")],
        [Regroup(0, "host-b joined")],
        [Regroup(0, "rank 1 is gone: to exit code 3", restart=True)],
        [told("its connection broke"), Regroup(1, "host-c joined")],
    ],
)
def test_what_ended_otherwise_has_lost_no_node(past: list[Regroup | Cut]) -> None:
    assert lost(past) is None
