"""What the launcher's own events say: which step of the agent is worth one, and its fields.

They stand beside torch elastic's, which say nothing of why a group was stopped, nor of a worker of an earlier round.
docs/events.md has them all. The clock and the recorders are the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher_core.model.news import Cut, Over, Regroup, Trouble
from launcher_core.model.value import Value
from launcher_core.rules.steps import (
    AgentEvent,
    Exited,
    Forwarded,
    Hung,
    Preempted,
    Signalled,
    Stalled,
    StartFailed,
    State,
)
from launcher_core.rules.supervise import Agent

SCHEMA = 1
"""Of the fields of the launcher's own events: a new number when one goes away or changes its meaning."""
AGENT = "launcher.agent."
WORKER = "launcher.worker."


class Entry(Value):
    """One event to be: its state and fields, and the worker it is about, None for the agent."""

    state: str
    fields: Mapping[str, Any] = {}
    local_rank: int | None = None


_NAMES = {State.AWAITING: "AWAITING", State.FINISHING: "FINISHING", State.DONE: "LEAVING"}

_CAUSES: dict[type, str] = {
    Exited: "failure",
    Hung: "hang",
    Preempted: "preempted",
    Cut: "cut_off",
    Over: "over",
    Trouble: "trouble",
    Signalled: "signal",
    StartFailed: "start_failed",
}


def entries(event: AgentEvent, before: Agent, after: Agent) -> tuple[Entry, ...]:
    """The events that a step from `before` to `after` is worth; joining and starting have their own moments."""
    found = []
    if isinstance(event, Signalled | Forwarded) and before.state is not State.DONE:
        found.append(Entry("SIGNALLED", {"signal": event.signum}))
    if isinstance(event, Exited) and event.exit not in before.exits and event.exit in after.exits:
        exit = event.exit
        found.append(Entry("EXITED", {"exit_code": exit.code, "stopped": exit.stopped}, exit.local_rank))
    if isinstance(event, Stalled) and before.state in (State.RUNNING, State.STOPPING) and event.round == before.round:
        told = {"reason": event.reason, "local_ranks": list(event.local_ranks)}
        found.append(Entry("RESUMED" if event.over else "STALLED", told))
    if before.state is State.RUNNING and after.state not in (State.RUNNING, State.FINISHING):
        # also where the only worker has ended by itself, so that there is nobody to be stopped
        found.append(Entry("STOPPING", {"cause": stop_cause(event), "reason": _reason(event)}))
    if after.state is not before.state and after.state in _NAMES:
        found.append(Entry(_NAMES[after.state]))
    return tuple(found)


def stop_cause(event: AgentEvent) -> str:
    """Why a group is stopped, in one word."""
    if isinstance(event, Regroup):
        return "failure_elsewhere" if event.restart else "membership"
    if isinstance(event, Over) and event.requeue:
        return "preempted"
    return _CAUSES.get(type(event), "other")


def join_cause(agent: Agent) -> str:
    """Why an agent asks for a place: `first`, or what ended the round before."""
    if agent.place is None:
        return "first"
    if not (isinstance(agent.verdict, Regroup) and agent.verdict.restart):
        return "membership"
    if agent.failures:
        return "failure"
    return "hang" if agent.hung else "failure_elsewhere"


def _reason(event: AgentEvent) -> str:
    if isinstance(event, Trouble | StartFailed):
        return str(event.error)
    if isinstance(event, Exited):
        code = event.exit.code
        return f"local rank {event.exit.local_rank} " + (f"exited with {code}" if code > 0 else f"got signal {-code}")
    if isinstance(event, Signalled):
        return f"signal {event.signum}"
    return event.notice if isinstance(event, Preempted) else str(getattr(event, "reason", ""))
