"""Which steps of the agent are worth an event of the launcher's own, and what that says. Histories in, entries out."""

from __future__ import annotations

from signal import SIGTERM, SIGUSR1

import pytest

from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble
from launcher_core.rules.chapters import Entry, entries, join_cause
from launcher_core.rules.steps import AgentEvent, Exited, Forwarded, Hung, Signalled, StartFailed
from launcher_core.rules.supervise import Agent, begin, step

PLACE = Place(0, 0, 1, 0, 2, 0, 2, "127.0.0.1", 1)
FAILED = Exited(WorkerExit(1, 101, 3, 0.0))
STOPPED = Exited(WorkerExit(0, 100, -15, 0.0, True))
RESTART, REGROUP = Regroup(0, "rank 5 failed", True, 1, 3), Regroup(0, "host-b joined")
FAILURE_TEXT = "local rank 1 exited with 3"


def history(*events: AgentEvent, workers: int = 2) -> tuple[Agent, list[Entry]]:
    """An agent that has seen the events, and all entries that they were worth."""
    agent, _ = begin(Agent(workers))
    found: list[Entry] = []
    for event in events:
        before, (agent, _) = agent, step(agent, event)
        found += entries(event, before, agent)
    return agent, found


def stopping(cause: str, reason: str) -> Entry:
    return Entry("STOPPING", {"cause": cause, "reason": reason})


def exited(local_rank: int, code: int, stopped: bool = False) -> Entry:
    return Entry("EXITED", {"exit_code": code, "stopped": stopped}, local_rank)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (FAILED, [exited(1, 3), stopping("failure", FAILURE_TEXT)]),
        (Exited(WorkerExit(0, 1, -9, 0.0)), [exited(0, -9), stopping("failure", "local rank 0 got signal 9")]),
        (Hung("no heartbeat", 0), [stopping("hang", "no heartbeat")]),
        (RESTART, [stopping("failure_elsewhere", "rank 5 failed")]),
        (REGROUP, [stopping("membership", "host-b joined")]),
        (Cut("no answer"), [stopping("cut_off", "no answer")]),
        (Over(False, "boom"), [stopping("over", "boom")]),
        (Trouble(OSError("gone")), [stopping("trouble", "gone")]),
        (Signalled(SIGTERM), [Entry("SIGNALLED", {"signal": 15}), stopping("signal", "signal 15")]),
        (Forwarded(SIGUSR1), [Entry("SIGNALLED", {"signal": 10})]),
        (StartFailed(OSError("no such file")), [stopping("start_failed", "no such file"), Entry("LEAVING")]),
        (Notice("hello"), []),
        (Hung("of another round", 7), []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_ends_a_running_group_is_told_with_its_cause(event: AgentEvent, expected: list[Entry]) -> None:
    assert history(Formed(PLACE), event)[1] == expected


def test_a_group_that_succeeds_finishes_and_leaves() -> None:
    ends = [Exited(WorkerExit(local, 1, 0, 0.0)) for local in (0, 1)]
    expected = [exited(0, 0), exited(1, 0), Entry("FINISHING"), Entry("LEAVING")]
    assert history(Formed(PLACE), *ends, Over(True, ""))[1] == expected


def test_an_only_worker_that_fails_is_a_stop_too_though_there_is_nobody_to_be_stopped() -> None:
    _, found = history(Formed(PLACE), Exited(WorkerExit(0, 1, 3, 0.0)), workers=1)
    assert found == [exited(0, 3), stopping("failure", "local rank 0 exited with 3"), Entry("AWAITING")]


def test_a_stop_is_told_once_and_what_is_stopped_is_said_to_be() -> None:
    _, found = history(Formed(PLACE), FAILED, RESTART, STOPPED)
    assert found == [exited(1, 3), stopping("failure", FAILURE_TEXT), exited(0, -15, True)]


def test_a_second_signal_is_told_and_stops_nothing_anew() -> None:
    _, found = history(Formed(PLACE), Signalled(SIGTERM), Signalled(SIGTERM))
    assert [one.state for one in found] == ["SIGNALLED", "STOPPING", "SIGNALLED"]


@pytest.mark.parametrize(
    ("events", "cause"),
    [
        ((), "first"),
        ((Formed(PLACE), FAILED, RESTART, STOPPED), "failure"),
        ((Formed(PLACE), RESTART, STOPPED), "failure_elsewhere"),
        ((Formed(PLACE), Hung("silent", 0), RESTART, STOPPED), "hang"),
        ((Formed(PLACE), REGROUP, STOPPED), "membership"),
        ((Formed(PLACE), FAILED, REGROUP, STOPPED), "membership"),
    ],
)
def test_joining_says_what_ended_the_round_before(events: tuple[AgentEvent, ...], cause: str) -> None:
    assert join_cause(history(*events)[0]) == cause
