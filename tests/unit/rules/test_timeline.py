"""A launch's own events as spans and phases: stories in, strokes and sums out."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from launcher_core.model.record import Event, EventSource
from launcher_core.rules.timeline import AGENT, PHASES, ROUNDS, Ledger, Timeline, moment, time_spent

Told = tuple[int, str, dict[str, Any]]


def event(at: int, state: str, **fields: Any) -> Event:
    """One of the launcher's own events; with a local rank it is about that worker."""
    worker = "local_rank" in fields
    inner = {name: [value] if name in ("local_rank", "exit_code") else value for name, value in fields.items()}
    metadata = {"state": state, "global_rank": fields.get("local_rank"), "run_id": "job"}
    name, source = ("launcher.worker.", EventSource.WORKER) if worker else ("launcher.agent.", EventSource.AGENT)
    return Event(name + state, source, 0, {**metadata, "metadata": json.dumps({**inner, "time_us": at})})


def begun() -> list[Event]:
    return [event(0, "BEGUN", node="n"), event(10, "JOINING", cause="first"), *started(30, 0)]


def started(at: int, round: int) -> list[Event]:
    start = event(at, "STARTING", round=round, group_world_size=2)
    return [start, event(at + 5, "STARTED", local_rank=0), event(at + 10, "RUNNING", round=round)]


FAILED = [event(100, "EXITED", local_rank=0, exit_code=7), event(101, "STOPPING", cause="failure", reason="why")]
STOPPED = event(95, "EXITED", local_rank=0, exit_code=-15, stopped=True)
FINISHED = [event(200, "EXITED", local_rank=0, exit_code=0), event(200, "FINISHING"), event(260, "LEAVING")]
ENDED = event(270, "ENDED", result="SUCCEEDED")
AGAIN = [event(110, "AWAITING"), event(120, "JOINING", cause="failure"), *started(130, 1)]
STORIES = {
    "undisturbed": [*begun(), *FINISHED, ENDED],
    "restarted": [*begun(), *FAILED, *AGAIN, *FINISHED, ENDED],
    "given up": [*begun(), *FAILED, event(120, "LEAVING"), event(130, "ENDED", result="FAILED")],
    "regrouped": [
        *begun(),
        event(90, "STOPPING", cause="membership"),
        STOPPED,
        event(96, "JOINING", cause="membership"),
        *started(97, 1),
        *FINISHED,
        ENDED,
    ],
    "regrouped at the barrier": [
        *begun(),
        *FINISHED[:2],
        event(210, "JOINING", cause="membership"),
        *started(220, 1),
        event(270, "ENDED", result="FAILED"),
    ],
    "a signal": [
        *begun(),
        event(90, "SIGNALLED", signal=15),
        event(90, "STOPPING", cause="signal"),
        event(99, "LEAVING"),
        ENDED,
    ],
    "never formed": [event(0, "BEGUN"), event(1, "JOINING", cause="first"), event(50, "LEAVING"), ENDED],
}

every_story = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())


def drawn(story: list[Event]) -> list[tuple[str, int, str, int]]:
    timeline = Timeline()
    marks = [mark for one in story for mark in timeline.take(one)] + timeline.end()
    return [(mark.kind, mark.track, mark.name, mark.at) for mark in marks]


def spans(story: list[Event], track: int) -> list[tuple[int, str, int, int]]:
    """Depth, name, begin and end of each span of a track, by begin; fails where they do not nest."""
    stack: list[tuple[str, int]] = []
    found = []
    for kind, where, name, at in drawn(story):
        if where != track or kind == "instant":
            continue
        if kind == "open":
            stack.append((name, at))
            continue
        opened, begin = stack.pop()
        assert opened == name
        found.append((len(stack), name, begin, at))
    assert not stack
    return sorted(found, key=lambda one: (one[2], one[0]))


def test_a_launch_without_trouble_has_its_spans_one_after_the_other() -> None:
    assert spans(STORIES["undisturbed"], AGENT) == [
        (0, "launch", 0, 270),
        (1, "rendezvous", 10, 30),
        (1, "start", 30, 40),
        (1, "run", 40, 200),
        (1, "exit barrier", 200, 260),
        (1, "leave", 260, 270),
    ]
    assert spans(STORIES["undisturbed"], 0) == [(0, "rank 0", 35, 200)]


def test_what_lies_between_two_runs_is_within_a_restart() -> None:
    assert spans(STORIES["restarted"], AGENT)[3:10] == [
        (1, "run", 40, 101),
        (1, "restart", 101, 140),
        (2, "stop", 101, 110),
        (2, "await verdict", 110, 120),
        (2, "rendezvous", 120, 130),
        (2, "start", 130, 140),
        (1, "run", 140, 200),
    ]
    assert spans(STORIES["restarted"], ROUNDS) == [(0, "round 0", 30, 120), (0, "round 1", 130, 260)]
    assert spans(STORIES["restarted"], 0) == [(0, "rank 0", 35, 100), (0, "rank 0", 135, 200)]


@pytest.mark.parametrize(
    ("story", "name"),
    [
        ("regrouped", "regroup"),
        ("regrouped at the barrier", "regroup"),
        ("given up", "restart"),
        ("a signal", "shutdown"),
    ],
)
def test_what_follows_a_stop_has_the_name_of_what_is_aimed_at(story: str, name: str) -> None:
    assert name in [span[1] for span in spans(STORIES[story], AGENT)]


def test_failures_and_signals_are_instants() -> None:
    instants = [one for story in ("restarted", "a signal") for one in drawn(STORIES[story]) if one[0] == "instant"]
    assert instants == [
        ("instant", 0, "failure: exit code 7", 100),
        ("instant", AGENT, "failure", 101),
        ("instant", AGENT, "signal 15", 90),
    ]


@every_story
def test_spans_of_a_track_nest_and_siblings_do_not_overlap(story: list[Event]) -> None:
    for track in (AGENT, ROUNDS, 0):
        ends: dict[int, int] = {}
        for depth, _, begin, end in spans(story, track):
            assert ends.get(depth, 0) <= begin <= end
            ends[depth] = end


@every_story
def test_the_phases_sum_to_the_time_from_the_first_event_to_the_last(story: list[Event]) -> None:
    ledger = Ledger()
    for one in story:
        ledger.take(one)
        now = moment(one).at  # type: ignore[union-attr]
        assert sum(ledger.phases(now).values()) == max(now, 0)
    assert ledger.phases(10_000) == ledger.phases()  # it has ended


def test_the_phases_of_a_restart() -> None:
    ledger = Ledger()
    for one in STORIES["restarted"]:
        ledger.take(one)
    assert ledger.phases() == {"training": 61 + 60, "forming": 40, "restarting": 9 + 20, "waiting": 10 + 60 + 10}
    assert tuple(ledger.phases()) == PHASES
    assert dict(ledger.restarts) == {"failure": 1}
    assert dict(ledger.exits) == {("failed", 7): 1, ("succeeded", 0): 1}
    assert (ledger.rendezvous, ledger.round, ledger.workers, ledger.state) == ([20, 10], 1, {0: "succeeded"}, "ENDED")


def test_a_node_that_was_cut_off_is_counted_as_that() -> None:
    ledger = Ledger()
    for one in [*begun(), event(90, "STOPPING", cause="cut_off"), event(95, "JOINING", cause="membership")]:
        ledger.take(one)
    assert dict(ledger.restarts) == {"cut_off": 1}


def test_a_phase_that_goes_on_is_counted_until_now() -> None:
    ledger = Ledger()
    for one in begun():
        ledger.take(one)
    assert ledger.phases(1040) == {"training": 1000, "forming": 40, "restarting": 0, "waiting": 0}


def test_spans_that_nobody_ended_end_with_the_last_event() -> None:
    assert [one[3] for one in drawn(STORIES["restarted"][:5]) if one[0] == "close"] == [30, 40, 40, 40, 40, 40]


def test_events_of_others_are_passed_over() -> None:
    strange = [
        Event("torchelastic.worker.status.START", EventSource.WORKER, 1, {"state": "START", "metadata": "{}"}),
        Event("launcher.agent.BEGUN", EventSource.AGENT, 1, {"state": "BEGUN", "metadata": None}),
        Event("launcher.agent.BEGUN", EventSource.AGENT, 1, {"state": "BEGUN", "metadata": "[1]"}),
        event(5, "OF A LATER VERSION"),
    ]
    assert drawn(strange) == []
    ledger = Ledger()
    for one in strange:
        ledger.take(one)
    assert sum(ledger.phases(100).values()) == 0


def test_a_time_that_runs_backwards_does_not_turn_spans_round() -> None:
    story = [*begun(), event(20, "STOPPING", cause="failure"), event(15, "ENDED", result="FAILED")]
    assert all(begin <= end for _, _, begin, end in spans(story, AGENT))
    ledger = Ledger()
    for one in story:
        ledger.take(one)
    assert ledger.phases() == {"training": 0, "forming": 40, "restarting": 0, "waiting": 0}


@pytest.mark.parametrize("seed", range(20))
def test_spans_nest_in_whatever_order_events_come(seed: int) -> None:
    story = [*STORIES["restarted"], *STORIES["a signal"]]
    random.Random(seed).shuffle(story)
    for track in (AGENT, ROUNDS, 0):
        spans(story, track)


@every_story
def test_the_time_spent_is_the_same_when_it_is_reckoned_at_the_end(story: list[Event]) -> None:
    ledger = Ledger()
    for one in story:
        ledger.take(one)
    told = [(one, moment(one)) for one in story if one.source is EventSource.AGENT]
    states = [(said.state, said.at) for _, said in told if said is not None and said.state != "SIGNALLED"]
    assert time_spent(states) == ledger.phases()
