"""How a worker group ends: look at what it does, ask it to stop, kill it; and what follows then.

The part of the table (rules/supervise) that is about workers which are to be stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from signal import SIGKILL, SIGTERM
from typing import TYPE_CHECKING

from launcher_core.errors import PreemptedError, StartError, StuckError, UsageError
from launcher_core.model.news import Cut, Over, Regroup, Trouble
from launcher_core.rules.steps import (
    Alarm,
    Arm,
    AskMore,
    Disarm,
    Effect,
    Examine,
    Examined,
    Exited,
    Join,
    Kill,
    Leave,
    Look,
    Looked,
    Preempted,
    Rang,
    Remains,
    Requeue,
    Say,
    Signalled,
    State,
    Sweep,
    TellKnown,
    Wants,
    Warn,
    Warned,
)

if TYPE_CHECKING:
    from launcher_core.model.job import Place, WorkerExit
    from launcher_core.rules.supervise import Agent, Step

NOT_STARTED = "its workers could not be started: "
"""How the reason begins of a node that leaves because of that."""
SHORTEST = 0.1
"""Seconds for which it is worth while to let a worker live on."""


def worker_stopped(agent: Agent, event: Exited) -> Step:
    """STOPPING: a worker has ended."""
    exit = event.exit
    agent = agent._replace(live=agent.live - {exit.local_rank}, exits=(*agent.exits, exit))
    agent, effects = (agent, ()) if agent.live or agent.held is Alarm.WARN else stopped(agent)
    alone = exit.code == 0 or exit.stopped or isinstance(agent.verdict, Regroup)
    return agent, effects if alone else (TellKnown(agent.round, exit.local_rank), *effects)


def told(agent: Agent, event: Regroup | Over) -> Step:
    """STOPPING: the verdict is in, or another one."""
    if isinstance(event, Regroup) and event.round != agent.round:
        return agent, ()
    if isinstance(event, Over) and event.requeue:
        return preempt(agent, event.reason, Say(event), elsewhere=True)
    follows = isinstance(event, Regroup) and agent.signal is None and agent.error is None
    return agent._replace(verdict=event), (Say(event),) if follows else ()


def trouble(agent: Agent, event: Trouble) -> Step:
    """STOPPING: the meeting cannot go on; what the group is stopped for goes before it."""
    return agent._replace(error=agent.error or event.error), ()


def looked(agent: Agent, event: Looked) -> Step:
    """STOPPING: the workers may be asked to stop, if that was waited for."""
    if event.round != agent.round:
        return agent, ()
    agent = agent._replace(seen=event)
    return release(agent) if agent.held is Alarm.LOOK else (agent, ())


def warned(agent: Agent, event: Warned) -> Step:
    """STOPPING: what was to be run before the workers are stopped has been."""
    return release(agent) if agent.held is Alarm.WARN else (agent, ())


def release(agent: Agent) -> Step:
    """Nothing has to be done any more before the workers are asked to stop, if they were not."""
    agent = agent._replace(held=None)
    if not agent.live:
        return stopped(agent)
    return (agent, ()) if agent.asked else ask(agent, SIGTERM)


def wants(agent: Agent, event: Wants) -> Step:
    """STOPPING: the grace is over; who asks for more gets it, up to the bound, and the others are killed."""
    if event.round != agent.round or agent.killed:
        return agent, ()
    more = tuple((local, seconds) for local, seconds in event.more if local in agent.live)
    if not more:
        return kill(agent, Say(Rang(Alarm.GRACE)))
    late = tuple(sorted(agent.live - {local for local, _ in more}))
    first = agent.given == agent.patience.grace
    until = max(SHORTEST, min(seconds for _, seconds in more))
    seconds = min(until, agent.patience.most - agent.given)
    said = (Say(event._replace(more=more)),) if first or late else ()
    killed = (Kill(SIGKILL, late),) if late else ()
    return agent._replace(given=agent.given + seconds), (*said, *killed, Arm(Alarm.GRACE, seconds))


def keep_look(agent: Agent, event: Looked) -> Step:
    """AWAITING: the workers ended meanwhile; what they were doing is still worth knowing."""
    return (agent._replace(seen=event), ()) if event.round == agent.round else (agent, ())


def signal_again(agent: Agent, event: Signalled) -> Step:
    """STOPPING: a first signal is passed on at once, whatever is waited for; the second one kills."""
    if agent.signal is not None and agent.live:
        return kill(agent, Say(event))
    agent = agent._replace(signal=event.signum)
    if not agent.live:
        agent, effects = stopped(agent)
        return agent, (Say(event), *effects)
    if agent.asked:
        return agent, (Say(event), Kill(event.signum, tuple(sorted(agent.live))))
    agent, effects = ask(agent, event.signum)
    return agent, (Say(event), *effects)


def time_is_up(agent: Agent, event: Rang) -> Step:
    """STOPPING: an alarm rings."""
    if event.alarm is agent.held:
        agent, effects = release(agent)
        return agent, effects if event.alarm is Alarm.LOOK else (Say(event), *effects)
    if event.alarm is Alarm.GRACE and not agent.killed:
        if agent.given < agent.patience.most:
            return agent, (AskMore(agent.round, tuple(sorted(agent.live))),)
        return kill(agent, Say(event))
    if event.alarm is Alarm.REAP:
        return agent, (Examine(agent.round, tuple(sorted(agent.live))),)
    return agent, ()


def examined(agent: Agent, event: Examined) -> Step:
    """STOPPING: workers are still there after SIGKILL. They are waited for once more if that may be worth it.

    A job that ends ends without them; one that was to go on cannot, on this node.
    """
    left = tuple(one for one in event.remains if one.local_rank in agent.live)
    if event.round != agent.round or not left:
        return agent, ()
    goes_on = agent.signal is None and agent.error is None and not isinstance(agent.verdict, Over)
    event = event._replace(remains=left)
    if not agent.remains and (goes_on or any(one.going for one in left)):
        return agent._replace(remains=left), (Say(event), Arm(Alarm.REAP, agent.patience.linger))
    agent = agent._replace(remains=left)
    if goes_on:
        agent = agent._replace(error=StuckError(tuple(one.local_rank for one in left), stuck_words(left)))
    agent, effects = stopped(agent)
    return agent, (Say(event._replace(leaves=True)), *effects)


def stuck_words(remains: Sequence[Remains]) -> str:
    """Each worker that is left, with what it is doing."""
    return "; ".join(f"local rank {one.local_rank} (pid {one.pid}) is {one.doing}" for one in remains)


def look(agent: Agent, reason: str, *also: Effect) -> Step:
    """Stop the group, but see first what its workers are doing: it may be why. The others are told before that."""
    if not agent.live:
        return stop(agent, SIGTERM, *also)
    agent = agent._replace(state=State.STOPPING, held=Alarm.LOOK)
    effect = Look(agent.round, tuple(sorted(agent.live)), reason)
    return agent, (*also, effect, Arm(Alarm.LOOK, agent.patience.look))


def stop(agent: Agent, signum: int, *also: Effect) -> Step:
    """Stop the group with this signal."""
    agent = agent._replace(state=State.STOPPING)
    if not agent.live:
        agent, effects = stopped(agent)
        return agent, (*also, *effects)
    agent, effects = ask(agent, signum)
    return agent, (*effects, *also)


def noticed(agent: Agent, event: Preempted) -> Step:
    """Any state: the job ends on all nodes."""
    return preempt(agent, event.notice, Say(event), Requeue(event.notice))


def preempt(agent: Agent, notice: str, *also: Effect, elsewhere: bool = False) -> Step:
    """End the job as preempted: what the user wants to be run is, then the workers are asked to stop.

    A job that ends of something else goes on ending of that.
    """
    if agent.signal is not None or agent.error is not None or isinstance(agent.verdict, Over):
        return agent, ()
    agent = agent._replace(state=State.STOPPING, held=Alarm.WARN, error=PreemptedError(notice, elsewhere=elsewhere))
    return agent, (*also, Warn(notice), Arm(Alarm.WARN, agent.patience.grace))


def ask(agent: Agent, signum: int) -> Step:
    """Ask the workers to stop."""
    live = tuple(sorted(agent.live))
    return agent._replace(held=None, asked=True, given=agent.patience.grace), (
        Kill(signum, live),
        Arm(Alarm.GRACE, agent.patience.grace),
    )


def kill(agent: Agent, *also: Effect) -> Step:
    """Kill the workers that are left."""
    live = tuple(sorted(agent.live))
    agent = agent._replace(killed=True, asked=True, held=None)
    return agent, (*also, Kill(SIGKILL, live), Arm(Alarm.REAP, agent.patience.reap))


def stopped(agent: Agent) -> Step:
    """No worker is alive any more; what happens next was decided when the stop began, or will be told."""
    agent, effects = follow(agent)
    return agent, (Disarm(), Sweep(), *effects)


def follow(agent: Agent) -> Step:
    """No worker is left: what the verdict says, and what goes before it."""
    if agent.signal is not None and not isinstance(agent.error, PreemptedError):
        return agent._replace(state=State.DONE), (Leave(f"stopped by signal {agent.signal}"),)
    if agent.error is not None:
        begin = NOT_STARTED if isinstance(agent.error, StartError | UsageError) else ""
        return agent._replace(state=State.DONE), (Leave(f"{begin}{agent.error}"),)
    if isinstance(agent.verdict, Over) and agent.verdict.settled:
        return agent._replace(state=State.DONE), ()
    if isinstance(agent.verdict, Over):
        waits = (TellKnown(agent.round), Arm(Alarm.VERDICT, agent.patience.verdict))
        return agent._replace(state=State.AWAITING), waits
    if isinstance(agent.verdict, Regroup):
        return agent._replace(state=State.JOINING), (Join(agent.verdict.restart),)
    return agent._replace(state=State.AWAITING), ()


def unsettled(agent: Agent, event: Cut | Trouble | Rang) -> Step:
    """AWAITING: the last word on why the job has failed will not come; what this node was told is what it knows."""
    ends = isinstance(agent.verdict, Over) and (not isinstance(event, Rang) or event.alarm is Alarm.VERDICT)
    return (agent._replace(state=State.DONE), (Disarm(),)) if ends else (agent, ())


def why_failed(exit: WorkerExit, place: Place | None) -> str:
    """One worker's failure in a few words, as the other nodes are told it."""
    rank = exit.local_rank + (place.base_rank if place else 0)
    how = f"exited with code {exit.code}" if exit.code > 0 else f"was killed by signal {-exit.code}"
    return f"rank {rank} (local rank {exit.local_rank}, pid {exit.pid}) {how}"
