"""The world of one seed: its clock, its faults, and what must hold at every step."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from launcher_core.model.job import Place
from launcher_core.model.news import Over
from launcher_core.rules.clerk import Clerk
from launcher_core.rules.register import Terms
from launcher_core.rules.round import Limits
from shared.backends import Memory
from shared.member import Member

FAULTS = (
    "crash", "cut", "cut", "hold up", "outage", "restart", "lose an answer", "lose an answer", "come", "leave",
)  # fmt: skip
CALM_AT = 40.0
"""No fault begins after so many seconds."""
END_BY = 200.0


class Broken(AssertionError):
    """Something that must hold does not."""


class World:
    """One job. Everything that happens is drawn from `random`, so that a seed tells the same story every time."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.now = 0.0
        self.log: list[str] = []
        self.leased = random.random() < 0.5
        self.lease = random.choice((1.5, 6.0))
        self.pause = 5.0 if self.leased else 0.2
        # Signs of life that all go through one register have to be slower than its calls.
        self.slow = random.choice((0.002, 0.02, 0.1 if self.leased or self.lease > 5 else 0.01))
        self.failures = random.choice((0.0, 0.2, 0.5))
        low = random.randint(1, 3)
        self.limits = Limits(
            low, low + random.randint(0, 3), random.choice((0.5, 3.0)), random.randint(0, 3), late_losses=True
        )
        self.memory = Memory(self, self.lease)
        self.failed_rounds: set[tuple[int, int]] = set()
        self.jobs = 0
        """Jobs that ended, all their nodes gone, before another node came and began one more."""
        self.seats: dict[int, dict[int, Place]] = {}
        self._queue: list[tuple[float, int, Callable[[], Any]]] = []
        self._count = 0
        self.members: list[Member] = []
        for _ in range(random.randint(low, self.limits.high + 1)):
            self.after(random.uniform(0.0, 4.0), self._come)
        self.touchy = random.random() < 0.5
        """Whether workers fail as soon as one of another node is gone."""
        self.longest = random.choice((3.0, 30.0))
        """Seconds that workers run at most."""
        self.testify = random.random() < 0.7
        """Whether nodes say more of a failure than its reason."""
        self.verdicts: dict[int, Any] = {}
        """Job -> what its nodes have settled on."""
        for _ in range(random.randint(0, 9)):
            self.after(random.uniform(1.0, CALM_AT), self._fault)

    @property
    def calm(self) -> bool:
        """Whether the time of faults is over."""
        return self.now > CALM_AT

    def say(self, what: str) -> None:
        """Note it in the history."""
        self.log.append(f"{self.now:8.3f} {what}")

    def after(self, seconds: float, act: Callable[[], Any]) -> None:
        """Have this done then."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + seconds, self._count, act))

    def latency(self) -> float:
        """Of a call, one way."""
        return self.random.uniform(0.0, self.slow)

    def changed(self) -> None:
        """Something in the register has: those who are told of it look, unless the hint is lost."""
        if self.leased:
            for member in self.members:
                if self.random.random() < 0.95:
                    self.after(self.latency(), lambda one=member: one.when_up(one.look))

    def play(self) -> None:
        """Run until every node is done. Raises Broken."""
        while self._queue and not (self.calm and self.members and all(one.gone for one in self.members)):
            self.now, _, act = heapq.heappop(self._queue)
            act()
            if self.now > END_BY:
                break
        waiting = [one for one in self.members if not one.gone]
        if len(waiting) >= self.limits.low:
            raise Broken(f"{', '.join(one.node.id for one in waiting)} wait for ever")
        left = self.memory.entries or (self.leased and self.memory.state)
        if not waiting and all(one.departed for one in self.members) and left:
            raise Broken(f"left behind: {left}")

    # --- faults -----------------------------------------------------------------------------------------

    def _come(self) -> None:
        if self.members and all(one.gone for one in self.members):
            self.jobs += 1
            self.seats.clear()
        name = f"n{len(self.members)}"
        self.say(f"--- {name} comes")
        clerk = Clerk(Terms(self.limits, 1000.0, self.lease), leased=self.leased)
        self.members.append(Member(self, name, clerk))

    def _fault(self) -> None:
        kind = self.random.choice(FAULTS)
        alive = [one for one in self.members if not one.gone]
        if kind == "come":
            if len(self.members) < 9:
                self._come()
        elif alive:
            self._befall(kind, self.random.choice(alive), self.random.uniform(0.1, 2.5 * self.lease), alive)

    def _befall(self, kind: str, one: Member, seconds: float, alive: list[Member]) -> None:
        self.say(f"--- {kind} {one.node.id} for {seconds:.2f} s")
        if kind == "crash":
            place, one.dead, one.running = one.running, True, None
            self._upset(place)
        elif kind == "leave":
            place = one.running
            one.when_up(one.leave)
            self._upset(place)
        elif kind == "hold up":
            one.held_up = True
            self.after(seconds, one.go_on)
        elif kind == "restart":
            self.memory.down += 1
            self.after(seconds, self.memory.start_again)
        elif kind == "lose an answer":
            one.view.answered = False
        else:
            for each in alive if kind == "outage" else [one]:
                each.view.reachable = False
                self.after(seconds, lambda it=each: setattr(it.view, "reachable", True))

    def _upset(self, place: Place | None) -> None:
        """Workers of a round are gone: those of the other nodes fail of it, which is no failure of theirs."""
        for other in self.members if self.touchy and place is not None else ():
            if other.running is not None and other.running.round == place.round:
                fail = partial(other.fail, other.running)
                self.after(self.random.uniform(0.0, 0.2), partial(other.when_up, fail))

    # --- what must hold ---------------------------------------------------------------------------------

    def check_end(self, over: Over) -> None:
        """The job has ended, for one node."""
        known = self.verdicts.setdefault(self.jobs, over.verdict) if over.settled and over.verdict else None
        if known is not None and known != over.verdict:
            raise Broken(f"{known} and {over.verdict} are both the cause")
        if over.reason.endswith(" failed") and len(self.failed_rounds) <= self.limits.max_restarts:
            raise Broken(f"{over} with {self.limits.max_restarts} restarts, and failures in {self.failed_rounds}")

    def check_start(self, member: Member, place: Place) -> None:
        """Workers of a round are about to start on this node."""
        if member.running is not None:
            raise Broken(f"round {member.running.round} still runs on {member.node.id} while {place.round} begins")
        for other in self.members:
            if other.running is not None and other.running.round != place.round and not other.stopped:
                raise Broken(f"round {other.running.round} runs on {other.node.id} while {place.round} begins")
        if member.rounds and place.round <= member.rounds[-1]:
            raise Broken(f"round {place.round} after round {member.rounds[-1]} on {member.node.id}")
        if place.restarts > min(len(self.failed_rounds), self.limits.max_restarts):
            raise Broken(f"{place.restarts} restarts for failures in {self.failed_rounds}")
        if not self.limits.low <= place.group_world_size <= self.limits.high:
            raise Broken(f"a round of {place.group_world_size} nodes")
        if place.group_rank == 0 and place.master_addr != member.node.name:
            raise Broken(f"{place.master_addr} serves round {place.round}, whose rank 0 is {member.node.name}")
        if not any(one.running is not None and one.running.round == place.round for one in self.members):
            self.seats[place.round] = {}  # what is known of it is of a job before this one
        seats = self.seats.setdefault(place.round, {})
        for rank, other in seats.items():
            same = (other.world_size, other.master_addr, other.restarts) == (
                place.world_size,
                place.master_addr,
                place.restarts,
            )
            if not same or rank == place.group_rank or other.base_rank == place.base_rank:
                raise Broken(f"{place} beside {other}")
        seats[place.group_rank] = place
