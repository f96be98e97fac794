"""What must hold at every step, whatever happens; the first thing that does not is raised as Broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher_core.errors import HostLostError, RendezvousTimeoutError
from launcher_core.model.job import Place
from launcher_core.model.news import Formed, Over, Regroup
from launcher_core.rules import round as rounds
from launcher_core.rules.guest import ANSWER_WITHIN, Stage
from launcher_core.rules.round import Close, Failed, Finished, Leave, Phase, Round
from launcher_core.rules.steps import Exited, State
from simulated.host import Watched
from simulated.member import Member
from simulated.world import World

if TYPE_CHECKING:
    from simulated.network import Link
    from simulated.story import Story
    from simulated.talk import Talk

REACTION = 0.5
"""Seconds in which an agent that was stopped and goes on has killed its workers."""
OVERDUE = 1.0
"""Seconds that a round that is due to form may be late."""
GREETED = ANSWER_WITHIN + 1.5
"""Seconds on one connection after which an agent has been heard, or has given it up."""
SETTLED = 8.0
"""Seconds after the last fault in which all connections are well again and all workers of old rounds gone."""


class Broken(AssertionError):
    """An invariant does not hold."""


def hold(true: object, what: str) -> None:
    """Raise Broken unless it is true."""
    if not true:
        raise Broken(what)


class Look:
    """Watches one job."""

    def __init__(self, world: World, story: Story) -> None:
        self._world = world
        self._story = story
        self._coordinators = 0
        """How many there have been."""
        self._spent = 0
        """Restarts in the life of the job."""
        self._known: dict[str, int] = {}
        """Restarts that a node was told of."""
        self.over: Round | None = None
        self.verdicts: list[Any] = []

    def began(self) -> None:
        """There is a coordinator that knows nothing of the rounds of another."""
        self._coordinators += 1
        self._places: dict[int, dict[str, Place]] = {}
        self._charged: set[int] = set()
        self._failed: set[int] = set()
        """Rounds in which a worker failed of its own."""
        self._succeeded: dict[tuple[str, int], float] = {}
        """Nodes and rounds whose workers have all exited with 0, and when."""
        self._due_since: float | None = None
        self._formed: dict[int, Round] = {}

    # --- the coordinator --------------------------------------------------------------------------------

    def changed(self, coordinator: Watched, old: Round, change: rounds.Change) -> None:
        """A change was applied."""
        new, limits = coordinator._round, coordinator._terms.limits
        self._world.note(f"host: {change} -> {new.phase.value} {new.number}")
        hold(new.number >= old.number, f"round {new.number} came after {old.number}")
        self._count(old, new, change, limits.max_restarts)
        hold(new.restarts <= limits.max_restarts, f"{new.restarts} of {limits.max_restarts} restarts")
        for kind, ids in (("here", {node.id for node in new.here}), ("expected", new.expected)):
            gone = ids - coordinator._sessions.keys()
            hold(new.phase is Phase.OVER or not gone, f"{kind} are {gone}, which nobody hears of any more")
        self._check_nobody_is_forgotten(old, new, change)
        if new.phase is Phase.RUNNING:
            self._formed.setdefault(new.number, new)
            hold(limits.low <= len(new.seated) <= limits.high, f"{len(new.seated)} nodes in round {new.number}")
            hold(new.finished <= {node.id for node in new.seated}, "a node has finished that has no place")
        if new.phase is Phase.OVER and old.phase is not Phase.OVER:
            self._ended(old, new, change, limits)
        self._watch_due(new, coordinator, limits)

    def _check_nobody_is_forgotten(self, old: Round, new: Round, change: rounds.Change) -> None:
        if new.phase is Phase.OVER:
            return
        here, seated = ({node.id for node in nodes} for nodes in (new.here, new.seated))
        hold(not here & new.expected, f"{here & new.expected} are here, and still waited for")
        waited = {node.id for node in old.here}
        if isinstance(change, rounds.Join):
            waited.add(change.node.id)
        elif isinstance(change, Leave):
            waited.discard(change.id)
        hold(waited <= here | seated, f"{waited - here - seated} asked for a place and are forgotten")

    def _count(self, old: Round, new: Round, change: rounds.Change, budget: int) -> None:
        more = new.restarts - old.restarts
        recalls = self._coordinators > 1 and old.phase is not Phase.OVER
        if recalls and isinstance(change, rounds.Join) and change.past is not None:
            more -= max(0, change.past.restarts - old.restarts)
        due = isinstance(change, Failed) and old.phase is Phase.RUNNING and change.round == old.number
        if due and change.id in old.seated.ids and old.restarts < budget:
            hold(change.round in self._failed, f"round {change.round} is charged, and no worker of it failed")
            hold(change.round not in self._charged, f"round {change.round} is charged twice")
            self._charged.add(change.round)
            self._spent += 1
            more -= 1
        hold(more == 0, f"{old.restarts} restarts became {new.restarts} by {change}")
        hold(new.restarts <= self._spent, f"{new.restarts} restarts, for {self._spent} failures")

    def _ended(self, old: Round, new: Round, change: rounds.Change, limits: rounds.Limits) -> None:
        self.over = new
        if new.succeeded:
            hold(isinstance(change, Finished | rounds.Resume), f"success by {change}")
            wanting = [one.id for one in old.seated if (one.id, old.number) not in self._succeeded]
            hold(not wanting, f"success, and {wanting} have not succeeded in round {old.number}")
        elif isinstance(change, Failed):
            hold(change.round == old.number and old.phase is Phase.RUNNING, f"ended by an old failure: {change}")
            hold(change.round in self._failed, f"ended by a failure that was none: {change}")
            hold(old.restarts == limits.max_restarts, f"ended after {old.restarts} restarts")
        else:
            hold(isinstance(change, Close), f"ended by {change}")

    def _watch_due(self, new: Round, coordinator: Watched, limits: rounds.Limits) -> None:
        """A round for which nothing is missing forms at once, or when the last call or the fence is over."""
        due = new.phase is Phase.GATHERING and len(new.here) >= limits.low and not new.expected
        if not due:
            self._due_since = None
        elif self._due_since is None:
            self._due_since = self._world.now
            number = new.number
            wait = limits.last_call + coordinator._terms.silence + limits.fence + OVERDUE
            if self._coordinators > 1:  # what a node remembers may have all of that begin anew
                wait *= 2
            self._world.after(wait, lambda: self._check_due(coordinator, number, wait))

    def _check_due(self, coordinator: Watched, number: int, wait: float) -> None:
        since, process = self._due_since, self._story.host
        stuck = since is not None and self._world.now - since >= wait and coordinator._round.number == number
        was_there = process.alive and not process.frozen and process.thawed_at < self._world.now - OVERDUE
        hold(not (stuck and was_there), f"round {number + 1} is due since {since}, and has not formed")

    # --- the agents -------------------------------------------------------------------------------------

    def stepped(self, member: Member, event: Any) -> None:
        """An agent is about to take an event."""
        self._world.note(f"{member.node.id}: {member.agent.state.value}: {event}")
        if isinstance(event, Formed):
            self._placed(member, event.place)
        elif isinstance(event, Regroup):
            self._told_restarts(member, event.restarts)
        elif isinstance(event, Exited) and event.exit.code != 0 and not event.exit.stopped:
            self._failed.add(member.agent.round)
        elif isinstance(event, Exited):
            self._note_success(member, event)

    def _note_success(self, member: Member, event: Exited) -> None:
        codes = {exit.local_rank: exit.code for exit in (*member.agent.exits, event.exit)}
        if len(codes) == member.node.local_world_size and not any(codes.values()):
            self._succeeded[member.node.id, member.agent.round] = self._world.now

    def _told_restarts(self, member: Member, restarts: int) -> None:
        id = member.node.id
        hold(
            restarts >= self._known.get(id, 0), f"{id} knows of {self._known.get(id)} restarts, and is told {restarts}"
        )
        self._known[id] = restarts

    def _placed(self, member: Member, place: Place) -> None:
        self._told_restarts(member, place.restarts)
        id, size = member.node.id, member.node.local_world_size
        hold(place.round > member.agent.round, f"{id} gets round {place.round} after {member.agent.round}")
        if self._is_late(id, place):
            return
        others = self._places.setdefault(place.round, {})
        hold(id not in others, f"{id} has a place in round {place.round} already")
        hold(place.group_rank < place.group_world_size, f"rank {place.group_rank} of {place.group_world_size}")
        hold(place.base_rank + size <= place.world_size, f"ranks of {id} go beyond {place.world_size}")
        for other, theirs in others.items():
            same = (theirs.group_world_size, theirs.world_size, theirs.restarts)
            mine = (place.group_world_size, place.world_size, place.restarts)
            hold(same == mine, f"{id} and {other} in round {place.round}: {mine}, {same}")
            hold(theirs.group_rank != place.group_rank, f"{id} and {other} are both {place.group_rank}")
            apart = theirs.base_rank + self._story.size(other) <= place.base_rank
            hold(apart or place.base_rank + size <= theirs.base_rank, f"{id} and {other} share ranks")
        others[id] = place
        if len(others) == place.group_world_size:
            total = sum(self._story.size(one) for one in others)
            hold(total == place.world_size, f"{total} workers in a world of {place.world_size}")

    def _is_late(self, id: str, place: Place) -> bool:
        """Whether this is the word of a coordinator that is no more; the end of its connection comes behind it."""
        formed = self._formed.get(place.round)
        return self._coordinators > 1 and (formed is None or id not in formed.seated.ids)

    def starting(self, member: Member, place: Place) -> None:
        """An agent is about to start workers."""
        hold(not member.rounds_alive, f"{member.node.id} starts round {place.round} over {member.rounds_alive}")
        if self._is_late(member.node.id, place):
            return
        for other in self._story.members:
            process = other.process
            excused = process.frozen or self._world.now - process.thawed_at < REACTION or other is member
            old = {number for number in other.rounds_alive if number < place.round}
            hold(excused or not old, f"{other.node.id} runs {old} when {member.node.id} starts round {place.round}")

    def ended(self, member: Member) -> None:
        """An agent's main loop has ended."""
        agent = member.agent
        self._world.note(f"{member.node.id}: done: {agent.signal or agent.error or agent.verdict!r}")
        if isinstance(agent.error, RendezvousTimeoutError) and self._story.host.alive:
            heard = self._world.now - self._story.port.tried_again_at > SETTLED
            others = [one.node.id for one in self._story.members if heard and self._settled(one)]
            hold(len(others) < self._story.low, f"{member.node.id} found no round, and there were {others}")
        elif isinstance(agent.error, HostLostError):
            gone_at = self._world.now if self._story.host.alive else self._story.host.died_at
            regular = not self._story.host_crashed and gone_at - self._story.quiet_at > SETTLED
            hold(not regular, f"{member.node.id} lost the host, which was not lost")
        elif agent.state is State.DONE and isinstance(agent.verdict, Over) and not self._story.host_crashed:
            self._check_barrier(member)
            self._check_verdict(agent.verdict)

    def _check_verdict(self, over: Over) -> None:
        """All whose verdict is settled have the same."""
        if over.verdict is not None and over.settled:
            self.verdicts.append(over.verdict)
            hold(over.verdict == self.verdicts[0], f"{over.verdict} and {self.verdicts[0]} are both the cause")

    def _settled(self, member: Member) -> bool:
        """Whether an agent has had all the time it needs to get a place."""
        since = max(member.began_at, self._story.quiet_at)
        return member.process.alive and not member.done and self._world.now - since > SETTLED

    def _check_barrier(self, member: Member) -> None:
        round = member.agent.round
        if not self._settled_barrier(member) or member.agent.verdict != Over(
            True, "the other nodes did not finish in time"
        ):
            return
        since = self._world.now - OVERDUE
        wanting = [id for id in self._places[round] if self._succeeded.get((id, round), since) >= since]
        hold(wanting, f"{member.node.id} waited for others in vain, and all had finished round {round}")

    def _settled_barrier(self, member: Member) -> bool:
        return self._world.now - self._story.quiet_at > SETTLED and self._story.host.alive

    def reached(self, talk: Talk) -> None:
        """An agent has a new connection."""
        link = talk.link
        self._world.after(GREETED, lambda: self._check_greeted(talk, link))

    def _check_greeted(self, talk: Talk, link: Link | None) -> None:
        process = talk.process
        goes_on = process.alive and not process.frozen and process.thawed_at < self._world.now - OVERDUE
        stuck = goes_on and talk.link is link and talk.guest.stage is Stage.GREETING
        hold(not stuck, f"{process.name} still waits for an answer to its greeting after {GREETED} s")

    def told(self, name: str, news: list[Any], lease_was_over: bool) -> None:
        """A guest has read something."""
        taken = lease_was_over and any(isinstance(one, Formed) for one in news)
        hold(not taken, f"{name} took a place when its lease was over")

    # --- the end ----------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The time is over: everybody knows how it ended."""
        for member in self._story.members:
            if member.process.alive:
                raise Broken(f"{member.node.id} waits for ever: {member.agent.state}, {self._world.log[-1]}")
