"""What an agent does about everything that can happen: a total table, state by event.

`step(agent, event)` returns the next agent and the effects to carry out, in order. Nothing here acts.

    JOINING --Formed--> RUNNING --all exit 0--> FINISHING --Over--> DONE
    RUNNING --a worker failed, Regroup, Over, Trouble, a signal--> STOPPING --all gone--> JOINING | AWAITING | DONE
    AWAITING --Regroup--> JOINING, --Over--> DONE        (this node failed; the verdict on the job is not in yet)
    Cut is a Regroup that cannot wait: the workers get SIGKILL; at the exit barrier it means nothing
"""

from collections.abc import Callable
from signal import SIGTERM
from typing import Any

from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.model.value import Value
from launcher_core.rules.ending import (
    examined,
    follow,
    keep_look,
    kill,
    look,
    looked,
    noticed,
    preempt,
    signal_again,
    stop,
    stopped,
    time_is_up,
    told,
    trouble,
    unsettled,
    wants,
    warned,
    why_failed,
    worker_stopped,
)
from launcher_core.rules.steps import (
    EVENTS,
    AgentEvent,
    Alarm,
    Arm,
    Disarm,
    Effect,
    Examined,
    Exited,
    Forwarded,
    Hung,
    Join,
    Leave,
    Leaving,
    Looked,
    Pass,
    Preempted,
    Rang,
    Remains,
    Say,
    Signalled,
    Stalled,
    Start,
    StartFailed,
    State,
    Sweep,
    TellFailed,
    TellFinished,
    Wants,
    Warned,
)


class Patience(Value):
    """How long the agent waits, in seconds."""

    look: float = 2.0
    grace: float = 30.0
    most: float = 300.0
    """For workers that ask for more than the grace."""
    reap: float = 1.5
    """For workers to be gone after SIGKILL."""
    linger: float = 10.0
    """For those that are not, if the job is to go on, or the kernel is taking them down."""
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
    """Why a group with no failed worker was given up, as its watch said; and the local ranks that it named."""
    hung_ranks: tuple[int, ...] = ()
    verdict: Regroup | Over | None = None
    signal: int | None = None
    error: Exception | None = None
    held: Alarm | None = None
    """Until when workers that are to be stopped are not asked to, because something has to be done before."""
    asked: bool = False
    """Whether they were."""
    given: float = 0.0
    """The seconds that they were given for that so far."""
    killed: bool = False
    remains: tuple[Remains, ...] = ()
    """What was left of the workers for long after that."""
    seen: Looked | None = None
    """What they were doing when it was decided to stop them."""

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
        hung_ranks=(),
        verdict=None,
        held=None,
        asked=False,
        killed=False,
        remains=(),
        seen=None,
    )
    return fresh, (Start(event.place),)


def _worker_ended(agent: Agent, event: Exited) -> Step:
    exit = event.exit
    agent = agent._replace(live=agent.live - {exit.local_rank}, exits=(*agent.exits, exit))
    if exit.code != 0:
        reason = why_failed(exit, agent.place)
        return look(agent, reason, TellFailed(agent.round, reason), Say(event))
    if agent.live:
        return agent, ()
    finish = (Sweep(), Arm(Alarm.BARRIER, agent.patience.barrier), TellFinished(agent.round))
    return agent._replace(state=State.FINISHING), finish


def _hung(agent: Agent, event: Hung) -> Step:
    if event.round != agent.round:
        return agent, ()
    told = (TellFailed(agent.round, event.reason, event.final), Say(event))
    return look(agent._replace(hung=event.reason, hung_ranks=event.local_ranks), event.reason, *told)


def _stalled(agent: Agent, event: Stalled) -> Step:
    return (agent, (Say(event),)) if event.round == agent.round else (agent, ())


def _start_failed(agent: Agent, event: StartFailed) -> Step:
    return stopped(agent._replace(live=frozenset(), error=event.error))


def _told_in_running(agent: Agent, event: Regroup | Over) -> Step:
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    if isinstance(event, Over) and event.requeue:
        return preempt(agent, event.reason, Say(event), elsewhere=True)
    agent = agent._replace(verdict=event)
    failed = event.restart if isinstance(event, Regroup) else not event.succeeded
    return look(agent, event.reason, Say(event)) if failed else stop(agent, SIGTERM, Say(event))


def _told_while_waiting(agent: Agent, event: Regroup | Over) -> Step:
    """AWAITING and FINISHING: no worker is alive, the verdict can be followed at once."""
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    if isinstance(event, Over) and event.requeue:
        return preempt(agent, event.reason, Say(event), elsewhere=True)
    said = (Say(event),) if isinstance(event, Regroup) else ()
    agent, effects = follow(agent._replace(verdict=event))
    return agent, (Disarm(), *said, *effects)


def _cut_in_running(agent: Agent, event: Cut) -> Step:
    return kill(agent._replace(state=State.STOPPING, verdict=_rejoin(agent, event)), Say(event))


def _cut_in_stopping(agent: Agent, event: Cut) -> Step:
    if not agent.live:  # what is run before a preempted job ends goes on
        return agent, (Say(event),)
    verdict = agent.verdict if isinstance(agent.verdict, Over) else _rejoin(agent, event)
    return kill(agent._replace(verdict=verdict), Say(event))


def _cut_in_awaiting(agent: Agent, event: Cut) -> Step:
    if isinstance(agent.verdict, Over):
        return unsettled(agent, event)
    agent, effects = follow(agent._replace(verdict=_rejoin(agent, event)))
    return agent, (Disarm(), Say(event), *effects)


def _rejoin(agent: Agent, event: Cut) -> Regroup:
    return Regroup(agent.round, event.reason)


def _over_before_start(agent: Agent, event: Over) -> Step:
    if event.requeue:
        return preempt(agent, event.reason, Say(event), elsewhere=True)
    return follow(agent._replace(verdict=event))


def _trouble_in_running(agent: Agent, event: Trouble) -> Step:
    return stop(agent._replace(error=event.error), SIGTERM, Say(event))


def _trouble_while_waiting(agent: Agent, event: Trouble) -> Step:
    if isinstance(agent.verdict, Over):
        return unsettled(agent, event)
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
    leaving = Leaving(f"stopped by signal {event.signum}")
    return stop(agent._replace(signal=event.signum), event.signum, leaving, Say(event))


def _alarm_before_start(agent: Agent, event: Rang) -> Step:
    return (agent, (Join(),)) if event.alarm is Alarm.BACKOFF else (agent, ())


def _pass_on(agent: Agent, event: Forwarded) -> Step:
    """Any state: it is for the workers that are alive now, and said to be lost where there are none."""
    live = tuple(sorted(agent.live))
    said = Say(event._replace(workers=len(live)))
    return agent, (Pass(event.signum, live), said) if live else (said,)


def _alarm_at_the_barrier(agent: Agent, event: Rang) -> Step:
    if event.alarm is not Alarm.BARRIER:
        return agent, ()
    verdict = Over(True, "the other nodes did not finish in time")
    return agent._replace(state=State.DONE, verdict=verdict), (Say(event), Leave(verdict.reason))


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
        Stalled: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Preempted: noticed,
        Warned: _ignore,
        Wants: _ignore,
        Examined: _ignore,
        Looked: _ignore,
        Rang: _alarm_before_start,
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
        Stalled: _stalled,
        Signalled: _signal_in_running,
        Forwarded: _pass_on,
        Preempted: noticed,
        Warned: _ignore,
        Wants: _ignore,
        Examined: _ignore,
        Looked: _ignore,
        Rang: _ignore,
    },
    State.STOPPING: {
        Formed: _ignore,
        Regroup: told,
        Cut: _cut_in_stopping,
        Over: told,
        Waiting: _ignore,
        Notice: _show,
        Trouble: trouble,
        Exited: worker_stopped,
        StartFailed: _ignore,
        Hung: _ignore,
        Stalled: _stalled,
        Signalled: signal_again,
        Forwarded: _pass_on,
        Preempted: noticed,
        Warned: warned,
        Wants: wants,
        Examined: examined,
        Looked: looked,
        Rang: time_is_up,
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
        Stalled: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Preempted: noticed,
        Warned: _ignore,
        Wants: _ignore,
        Examined: _ignore,
        Looked: keep_look,
        Rang: unsettled,
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
        Stalled: _ignore,
        Signalled: _signal_before_start,
        Forwarded: _pass_on,
        Preempted: noticed,
        Warned: _ignore,
        Wants: _ignore,
        Examined: _ignore,
        Looked: _ignore,
        Rang: _alarm_at_the_barrier,
    },
    State.DONE: dict.fromkeys(EVENTS, _ignore),
}
