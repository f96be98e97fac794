"""A launch as spans and phases, told from the launcher's own events (docs/events.md) and nothing else.

Recorders that draw, count or export a launch share it: Timeline gives the spans, Ledger the sums. Both take events
in their order; neither reads a clock. Events of other kinds are passed over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from launcher_core.model.record import Event, EventSource
from launcher_core.model.value import Value

PREFIX = "launcher."
AGENT = -1
"""The track of the agent; those of the workers are their local ranks."""
ROUNDS = -2
"""The track that has a span for each round: a recovery, on the agent's, lasts from one round into the next."""
PHASES = ("training", "forming", "restarting", "waiting")


class Mark(Value):
    """One stroke on a track: a span's beginning or end, or an instant. `at` is wall-clock microseconds."""

    kind: str
    """`open`, `close` or `instant`."""
    track: int
    name: str
    at: int
    facts: Mapping[str, Any] = {}


class Moment(Value):
    """What one of the launcher's own events says."""

    state: str
    worker: bool
    at: int
    facts: Mapping[str, Any]


def moment(event: Event) -> Moment | None:
    """What the event says; None when it is none of the launcher's own, or not to be understood."""
    if not event.name.startswith(PREFIX):
        return None
    try:
        inner = json.loads(str(event.metadata.get("metadata")))
    except ValueError:
        inner = None
    if not isinstance(inner, dict):
        return None
    facts = {**event.metadata, **inner}
    at = inner.get("time_us")
    at = at if isinstance(at, int) else event.timestamp * 1000
    return Moment(str(event.metadata.get("state")), event.source is EventSource.WORKER, at, facts)


# --- spans ----------------------------------------------------------------------------------------------

_RECOVERY = {"failure": "restart", "hang": "restart", "failure_elsewhere": "restart"} | dict.fromkeys(
    ("membership", "cut_off"), "regroup"
)
_SPANS = {
    "JOINING": "rendezvous",
    "STARTING": "start",
    "RUNNING": "run",
    "STOPPING": "stop",
    "AWAITING": "await verdict",
    "FINISHING": "exit barrier",
    "LEAVING": "leave",
}


class Timeline:
    """Spans that nest on every track, and instants.

    On that of the rounds: each from its formation until this node's workers are gone and it joins again, or leaves.
    On the agent's: launch > run, exit barrier, leave, or rendezvous and start; what lies between two runs is within
    a `restart` or a `regroup`, what follows a last stop within a `shutdown`. On a worker's: a span for each process.
    """

    def __init__(self) -> None:
        self._open: dict[int, list[str]] = {}
        self._last = 0

    def take(self, event: Event) -> list[Mark]:
        """The marks that the event makes, in order."""
        told = moment(event)
        if told is None:
            return []
        self._last = max(self._last, told.at)
        told = told._replace(at=self._last)
        return self._worker(told) if told.worker else self._agent(told)

    def end(self, at: int | None = None) -> list[Mark]:
        """The ends of all spans that are open, at the last event's time unless another is given."""
        at = max(self._last, at or 0)
        tracks = sorted(self._open, key=_inner_first)
        return [mark for track in tracks for mark in self._close(track, 0, at, {"outcome": "not heard of again"})]

    def _agent(self, told: Moment) -> list[Mark]:
        before = self._close(ROUNDS, 0, told.at) if told.state in ("JOINING", "LEAVING", "ENDED") else []
        after = []
        if told.state == "STARTING":
            facts = _some(told.facts, "round", "group_rank", "group_world_size", "world_size", "agent_restarts")
            after = [self._begin(ROUNDS, f"round {told.facts.get('round')}", told.at, facts)]
        return before + self._own(told) + after

    def _own(self, told: Moment) -> list[Mark]:
        at, facts = told.at, told.facts
        if told.state == "BEGUN":
            return [self._begin(AGENT, "launch", at, _some(facts, "run_id", "entry_point", "node"))]
        if told.state == "SIGNALLED":
            return [Mark("instant", AGENT, f"signal {facts.get('signal')}", at, _some(facts, "signal"))]
        if told.state == "ENDED":
            workers = [mark for track in sorted(self._open) if track >= 0 for mark in self._close(track, 0, at)]
            return workers + self._close(AGENT, 0, at, _some(facts, "result", "raw_error"))
        if told.state not in _SPANS:
            return []
        inner = _some(facts, "round", "cause", "reason", "group_rank", "group_world_size", "world_size")
        if told.state == "STOPPING":
            cause = str(facts.get("cause"))
            marks = self._close(AGENT, 1, at, _some(facts, "cause"))
            marks.append(self._begin(AGENT, _RECOVERY.get(cause, "shutdown"), at, _some(facts, "cause", "reason")))
            if cause in ("failure", "hang"):
                marks.append(Mark("instant", AGENT, cause, at, _some(facts, "reason", "round")))
            return [*marks, self._begin(AGENT, "stop", at, inner)]
        unfollowed = {"outcome": "no round followed"} if told.state == "LEAVING" and self._recovers() else {}
        marks = self._close(AGENT, self._keep(told), at, unfollowed)
        if told.state == "JOINING" and facts.get("cause") != "first" and len(self._open.get(AGENT, ())) == 1:
            name = _RECOVERY.get(str(facts.get("cause")), "regroup")  # the others went on without the exit barrier
            marks.append(self._begin(AGENT, name, at, _some(facts, "cause")))
        return [*marks, self._begin(AGENT, _SPANS[told.state], at, inner)]

    def _keep(self, told: Moment) -> int:
        """How many spans of the agent's stay open when the next begins: a recovery lasts until workers run."""
        return 2 if self._recovers() and told.state not in ("RUNNING", "FINISHING", "LEAVING") else 1

    def _recovers(self) -> bool:
        return self._open.get(AGENT, [])[1:2] in (["restart"], ["regroup"])

    def _worker(self, told: Moment) -> list[Mark]:
        track, at, facts = int(told.facts["local_rank"][0]), told.at, told.facts
        if told.state == "STARTED":
            closed = self._close(track, 0, at)
            name = f"rank {facts.get('global_rank')}"
            begun = self._begin(track, name, at, {**_some(facts, "global_rank", "round"), "pid": _first(facts)})
            return [*closed, begun]
        if told.state != "EXITED":
            return []
        (code,) = facts["exit_code"]
        marks = []
        if code and not facts.get("stopped"):
            what = f"exit code {code}" if code > 0 else f"signal {-code}"
            marks = [Mark("instant", track, f"failure: {what}", at, _some(facts, "global_rank", "round"))]
        return marks + self._close(track, 0, at, {"exit_code": code, "stopped": bool(facts.get("stopped"))})

    def _begin(self, track: int, name: str, at: int, facts: Mapping[str, Any]) -> Mark:
        self._open.setdefault(track, []).append(name)
        return Mark("open", track, name, at, facts)

    def _close(self, track: int, keep: int, at: int, facts: Mapping[str, Any] | None = None) -> list[Mark]:
        """Close the track's spans from the innermost, all but `keep`; the outermost of them gets the facts."""
        stack, marks = self._open.get(track, []), []
        while len(stack) > keep:
            name = stack.pop()
            marks.append(Mark("close", track, name, at, facts or {} if len(stack) == keep else {}))
        return marks


def _inner_first(track: int) -> tuple[bool, bool, int]:
    return track == AGENT, track == ROUNDS, track


def _some(facts: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names if facts.get(name) not in (None, "")}


def _first(facts: Mapping[str, Any]) -> Any:
    return next(iter(facts.get("worker_pid") or [None]))


# --- sums -----------------------------------------------------------------------------------------------


def phase_after(phase: str | None, state: str) -> str | None:
    """The phase that begins with this state of the agent, after another; None before the first and after the last."""
    if state == "RUNNING":
        return "training"
    if state in ("AWAITING", "FINISHING", "LEAVING"):
        return "waiting"
    if state == "STOPPING":
        return "restarting"
    if state == "ENDED":
        return None
    return "forming" if phase in (None, "forming") else "restarting"


def time_spent(states: Sequence[tuple[str, int]]) -> dict[str, int]:
    """How long each phase lasted, in the unit of the times at which the agent came into these states."""
    spent = dict.fromkeys(PHASES, 0)
    phase = None
    for (state, begun), (_, ended) in pairwise(states):
        phase = phase_after(phase, state)
        if phase is not None:
            spent[phase] += ended - begun
    return spent


class Ledger:
    """What there is to count of a launch. Times are microseconds; the phases' sum is the time since BEGUN.

    `training`: workers run. `forming`: until the first do. `restarting`: from the decision to stop a group until
    the next runs, or, where none follows, until its last worker is gone. `waiting`: for other nodes, when this one's
    workers have ended.
    """

    def __init__(self) -> None:
        self.state = "BEGUN"
        self.round: int | None = None
        self.nodes = 0
        self.workers: dict[int, str] = {}
        """Local rank to `running`, `succeeded`, `failed` or `stopped`, of the current round."""
        self.restarts: Counter[str] = Counter()
        self.exits: Counter[tuple[str, int]] = Counter()
        """By kind (`succeeded`, `failed`, `stopped`) and code."""
        self.rendezvous: list[int] = []
        """How long each took."""
        self._phases = dict.fromkeys(PHASES, 0)
        self._phase: str | None = None
        self._since = 0
        self._joined = 0
        self._stop_cause = ""

    def take(self, event: Event) -> None:
        """Count what the event says."""
        told = moment(event)
        if told is None:
            return
        if told.worker:
            self._worker(told)
            return
        told = told._replace(at=max(told.at, self._since))
        if told.state in ("BEGUN", "ENDED", *_SPANS):
            self._agent(told)

    def phases(self, now: int | None = None) -> dict[str, int]:
        """Microseconds in each phase, the current one until `now`, or until the last event."""
        found = dict(self._phases)
        if now is not None and self._phase is not None:
            found[self._phase] += max(0, now - self._since)
        return found

    def _agent(self, told: Moment) -> None:
        if self._phase is not None:
            self._phases[self._phase] += told.at - self._since
        self._since = told.at
        self.state = told.state
        self._phase = phase_after(self._phase, told.state)
        facts = told.facts
        if told.state == "JOINING":
            self._joined = told.at
            if facts.get("cause") != "first":
                self.restarts[self._cause(str(facts.get("cause")))] += 1
            self._stop_cause = ""
        elif told.state == "STARTING":
            self.rendezvous.append(told.at - self._joined)
            self.round, self.nodes = facts.get("round"), int(facts.get("group_world_size") or 0)
            self.workers = {}
        elif told.state == "STOPPING":
            self._stop_cause = str(facts.get("cause"))
        elif told.state == "ENDED":
            self.nodes = 0

    def _cause(self, told: str) -> str:
        return self._stop_cause if self._stop_cause == "cut_off" else told

    def _worker(self, told: Moment) -> None:
        (local_rank,) = told.facts["local_rank"]
        if told.state == "STARTED":
            self.workers[local_rank] = "running"
        elif told.state == "EXITED":
            (code,) = told.facts["exit_code"]
            kind = "stopped" if told.facts.get("stopped") else "failed" if code else "succeeded"
            self.workers[local_rank] = kind
            self.exits[kind, code] += 1
