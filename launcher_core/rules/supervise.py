"""What an agent does about everything that can happen: a total table, state by event.

`step(agent, event)` returns the next agent and the effects to carry out, in order. Nothing here acts.

    JOINING --Formed--> RUNNING --all exit 0--> FINISHING --Over--> DONE
    RUNNING --a worker failed, Regroup, Over, Trouble, a signal--> STOPPING --all gone--> JOINING | AWAITING | DONE
    AWAITING --Regroup--> JOINING, --Over--> DONE        (this node failed; the verdict on the job is not in yet)
    An Over that is not settled has the agent stop its workers, testify, and be AWAITING the one that is
    Cut is a Regroup that cannot wait: the workers get SIGKILL; at the exit barrier it means nothing
"""

from collections.abc import Callable
from enum import Enum
from signal import SIGKILL, SIGTERM
from typing import Any

from launcher_core.errors import StuckError
from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.model.value import Value
from launcher_core.rules.steps import (
    EVENTS,
    AgentEvent,
    Alarm,
    Arm,
    Disarm,
    Effect,
    Exited,
    Forwarded,
    Hung,
    Join,
    Kill,
    Leave,
    Pass,
    Rang,
    Say,
    Signalled,
    Start,
    StartFailed,
    Sweep,
    TellFailed,
    TellFinished,
    TellKnown,
)


class State(Enum):
    """Where the agent is in the life of its worker group."""

    JOINING = "joining"
    RUNNING = "running"
    STOPPING = "stopping"
    AWAITING = "awaiting"
    FINISHING = "finishing"
    DONE = "done"


class Patience(Value):
    """How long the agent waits, in seconds."""

    grace: float = 30.0
    reap: float = 30.0
    barrier: float = 300.0
    verdict: float = 3.0


class Agent(Value):
    """Everything the decisions depend on."""

    local_world_size: int
    patience: Patience = Patience()
    state: State = State.JOINING
    place: Place | None = None
    live: frozenset[int] = frozenset()
    exits: tuple[WorkerExit, ...] = ()
    """How workers of the current round ended, in the order seen."""
    hung: str = ""
    """Why a group with no failed worker was given up, as its watch said."""
    verdict: Regroup | Over | None = None
    signal: int | None = None
    error: Exception | None = None
    killed: bool = False

    @property
    def round(self) -> int:
        """The number of the round the workers belong to, -1 before the first."""
        return self.place.round if self.place else -1

    @property
    def failures(self) -> tuple[WorkerExit, ...]:
        """The exits of this round that are failures of the worker's own."""
        return tuple(exit for exit in self.exits if exit.code != 0 and not exit.stopped)


Step = tuple[Agent, tuple[Effect, ...]]


def step(agent: Agent, event: AgentEvent) -> Step:
    """The agent after `event`, and the effects to carry out."""
    return TABLE[agent.state][type(event)](agent, event)


def begin(agent: Agent) -> Step:
    """The first step of a launch."""
    return agent, (Join(),)


def why_failed(exit: WorkerExit, place: Place | None) -> str:
    """One worker's failure in a few words, as the other nodes are told it."""
    rank = exit.local_rank + (place.base_rank if place else 0)
    how = f"exited with code {exit.code}" if exit.code > 0 else f"was killed by signal {-exit.code}"
    return f"rank {rank} (local rank {exit.local_rank}, pid {exit.pid}) {how}"


# --- transitions ----------------------------------------------------------------------------------------


def _ignore(agent: Agent, event: Any) -> Step:
    """Nothing to do: the event is about something that is already over, or only for information."""
    return agent, ()


def _show(agent: Agent, event: Any) -> Step:
    return agent, (Say(event),)


def _start(agent: Agent, event: Formed) -> Step:
    fresh = agent._replace(
        state=State.RUNNING,
        place=event.place,
        live=frozenset(range(agent.local_world_size)),
        exits=(),
        hung="",
        verdict=None,
        killed=False,
    )
    return fresh, (Start(event.place),)


def _worker_ended(agent: Agent, event: Exited) -> Step:
    exit = event.exit
    agent = agent._replace(live=agent.live - {exit.local_rank}, exits=(*agent.exits, exit))
    if exit.code != 0:
        reason = why_failed(exit, agent.place)
        return _stop(agent, SIGTERM, TellFailed(agent.round, reason), Say(event))
    if agent.live:
        return agent, ()
    finish = (Sweep(), Arm(Alarm.BARRIER, agent.patience.barrier), TellFinished(agent.round))
    return agent._replace(state=State.FINISHING), finish


def _worker_stopped(agent: Agent, event: Exited) -> Step:
    exit = event.exit
    agent = agent._replace(live=agent.live - {exit.local_rank}, exits=(*agent.exits, exit))
    agent, effects = (agent, ()) if agent.live else _stopped(agent)
    alone = exit.code == 0 or exit.stopped or isinstance(agent.verdict, Regroup)
    return agent, effects if alone else (TellKnown(agent.round, exit.local_rank), *effects)


def _hung(agent: Agent, event: Hung) -> Step:
    if event.round != agent.round:
        return agent, ()
    return _stop(agent._replace(hung=event.reason), SIGTERM, TellFailed(agent.round, event.reason), Say(event))


def _start_failed(agent: Agent, event: StartFailed) -> Step:
    return _stopped(agent._replace(live=frozenset(), error=event.error))


def _told_in_running(agent: Agent, event: Regroup | Over) -> Step:
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    return _stop(agent._replace(verdict=event), SIGTERM, Say(event))


def _told_in_stopping(agent: Agent, event: Regroup | Over) -> Step:
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    follows = isinstance(event, Regroup) and agent.signal is None and agent.error is None
    return agent._replace(verdict=event), (Say(event),) if follows else ()


def _told_while_waiting(agent: Agent, event: Regroup | Over) -> Step:
    """AWAITING and FINISHING: no worker is alive, the verdict can be followed at once."""
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    said = (Say(event),) if isinstance(event, Regroup) else ()
    agent, effects = _follow(agent._replace(verdict=event))
    return agent, (Disarm(), *said, *effects)


def _cut_in_running(agent: Agent, event: Cut) -> Step:
    return _kill(agent._replace(state=State.STOPPING, verdict=_rejoin(agent, event)), Say(event))


def _cut_in_stopping(agent: Agent, event: Cut) -> Step:
    verdict = agent.verdict if isinstance(agent.verdict, Over) else _rejoin(agent, event)
    return _kill(agent._replace(verdict=verdict), Say(event))


def _cut_in_awaiting(agent: Agent, event: Cut) -> Step:
    if isinstance(agent.verdict, Over):
        return _unsettled(agent, event)
    agent, effects = _follow(agent._replace(verdict=_rejoin(agent, event)))
    return agent, (Disarm(), Say(event), *effects)


def _unsettled(agent: Agent, event: Cut | Trouble | Rang) -> Step:
    """AWAITING: the last word on why the job has failed will not come; what this node was told is what it knows."""
    ends = isinstance(agent.verdict, Over) and (not isinstance(event, Rang) or event.alarm is Alarm.VERDICT)
    return (agent._replace(state=State.DONE), (Disarm(),)) if ends else (agent, ())


def _rejoin(agent: Agent, event: Cut) -> Regroup:
    return Regroup(agent.round, event.reason)


def _kill(agent: Agent, *also: Effect) -> Step:
    live = tuple(sorted(agent.live))
    return agent._replace(killed=True), (*also, Kill(SIGKILL, live), Arm(Alarm.REAP, agent.patience.reap))


def _over_before_start(agent: Agent, event: Over) -> Step:
    return _follow(agent._replace(verdict=event))


def _trouble_in_running(agent: Agent, event: Trouble) -> Step:
    return _stop(agent._replace(error=event.error), SIGTERM, Say(event))


def _trouble_in_stopping(agent: Agent, event: Trouble) -> Step:
    return agent._replace(error=agent.error or event.error), ()


def _trouble_while_waiting(agent: Agent, event: Trouble) -> Step:
    if isinstance(agent.verdict, Over):
        return _unsettled(agent, event)
    return agent._replace(state=State.DONE, error=event.error), (Disarm(),)


def _trouble_at_the_barrier(agent: Agent, event: Trouble) -> Step:
    """This node's workers all succeeded; that the others can no longer be heard changes nothing about it."""
    verdict = Over(True, f"the other nodes were not waited for: {event.error}")
    return agent._replace(state=State.DONE, verdict=verdict), (Disarm(), Say(event))


def _signal_before_start(agent: Agent, event: Signalled) -> Step:
    """No worker is alive: leave at once."""
    done = agent._replace(state=State.DONE, signal=event.signum)
    return done, (Disarm(), Say(event), Leave(f"stopped by signal {event.signum}"))


def _signal_in_running(agent: Agent, event: Signalled) -> Step:
    return _stop(agent._replace(signal=event.signum), event.signum, Say(event))


def _signal_in_stopping(agent: Agent, event: Signalled) -> Step:
    if agent.signal is None:
        return agent._replace(signal=event.signum), (Say(event), Kill(event.signum, tuple(sorted(agent.live))))
    return _kill(agent, Say(event))


def _pass_on(agent: Agent, event: Forwarded) -> Step:
    """Any state: it is for the workers that are alive now, and said to be lost where there are none."""
    live = tuple(sorted(agent.live))
    said = Say(event._replace(workers=len(live)))
    return agent, (Pass(event.signum, live), said) if live else (said,)


def _alarm_in_stopping(agent: Agent, event: Rang) -> Step:
    if event.alarm is Alarm.GRACE and not agent.killed:
        return _kill(agent, Say(event))
    if event.alarm is Alarm.REAP:
        agent, effects = _stopped(agent._replace(error=agent.error or StuckError(tuple(sorted(agent.live)))))
        return agent, (Say(event), *effects)
    return agent, ()


def _alarm_at_the_barrier(agent: Agent, event: Rang) -> Step:
    if event.alarm is not Alarm.BARRIER:
        return agent, ()
    verdict = Over(True, "the other nodes did not finish in time")
    return agent._replace(state=State.DONE, verdict=verdict), (Say(event), Leave(verdict.reason))


def _stop(agent: Agent, signum: int, *also: Effect) -> Step:
    agent = agent._replace(state=State.STOPPING)
    if not agent.live:
        agent, effects = _stopped(agent)
        return agent, (*also, *effects)
    live = tuple(sorted(agent.live))
    return agent, (Kill(signum, live), Arm(Alarm.GRACE, agent.patience.grace), *also)


def _stopped(agent: Agent) -> Step:
    """No worker is alive any more; what happens next was decided when the stop began, or will be told."""
    agent, effects = _follow(agent)
    return agent, (Disarm(), Sweep(), *effects)


def _follow(agent: Agent) -> Step:
    if agent.signal is not None:
        return agent._replace(state=State.DONE), (Leave(f"stopped by signal {agent.signal}"),)
    if agent.error is not None:
        return agent._replace(state=State.DONE), (Leave(str(agent.error)),)
    if isinstance(agent.verdict, Over) and agent.verdict.settled:
        return agent._replace(state=State.DONE), ()
    if isinstance(agent.verdict, Over):
        waits = (TellKnown(agent.round), Arm(Alarm.VERDICT, agent.patience.verdict))
        return agent._replace(state=State.AWAITING), waits
    if isinstance(agent.verdict, Regroup):
        return agent._replace(state=State.JOINING), (Join(),)
    return agent._replace(state=State.AWAITING), ()


Transition = Callable[[Agent, Any], Step]

TABLE: dict[State, dict[type, Transition]] = {
    State.JOINING: {
        Formed: _start,
        Regroup: _ignore,
        Cut: _show,
        Over: _over_before_start,
        Waiting: _show,
        Notice: _show,
        Trouble: _trouble_while_waiting,
        Exited: _ignore,
        StartFailed: _ignore,
        Hung: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Rang: _ignore,
    },
    State.RUNNING: {
        Formed: _ignore,
        Regroup: _told_in_running,
        Cut: _cut_in_running,
        Over: _told_in_running,
        Waiting: _ignore,
        Notice: _show,
        Trouble: _trouble_in_running,
        Exited: _worker_ended,
        StartFailed: _start_failed,
        Hung: _hung,
        Signalled: _signal_in_running,
        Forwarded: _pass_on,
        Rang: _ignore,
    },
    State.STOPPING: {
        Formed: _ignore,
        Regroup: _told_in_stopping,
        Cut: _cut_in_stopping,
        Over: _told_in_stopping,
        Waiting: _ignore,
        Notice: _show,
        Trouble: _trouble_in_stopping,
        Exited: _worker_stopped,
        StartFailed: _ignore,
        Hung: _ignore,
        Signalled: _signal_in_stopping,
        Forwarded: _pass_on,
        Rang: _alarm_in_stopping,
    },
    State.AWAITING: {
        Formed: _ignore,
        Regroup: _told_while_waiting,
        Cut: _cut_in_awaiting,
        Over: _told_while_waiting,
        Waiting: _show,
        Notice: _show,
        Trouble: _trouble_while_waiting,
        Exited: _ignore,
        StartFailed: _ignore,
        Hung: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Rang: _unsettled,
    },
    State.FINISHING: {
        Formed: _ignore,
        Regroup: _told_while_waiting,
        Cut: _show,
        Over: _told_while_waiting,
        Waiting: _show,
        Notice: _show,
        Trouble: _trouble_at_the_barrier,
        Exited: _ignore,
        StartFailed: _ignore,
        Hung: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Rang: _alarm_at_the_barrier,
    },
    State.DONE: dict.fromkeys(EVENTS, _ignore),
}
