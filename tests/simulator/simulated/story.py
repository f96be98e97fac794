"""One seed's job: who takes part, what goes wrong and when."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from launcher_core.model.job import Node
from launcher_core.rules.guest import Where
from launcher_core.rules.round import Limits
from launcher_core.rules.steps import Signalled
from launcher_core.rules.supervise import Patience
from launcher_core.runtime.coordinator import Terms
from simulated.faults import FAULTS
from simulated.host import Port, Watched
from simulated.invariants import Look
from simulated.member import Habits, Member
from simulated.network import Network
from simulated.world import Process, World

SILENCE = 1.5
JOIN_TIMEOUT = 12.0
BARRIER = 8.0
SETTLES_WITHIN = 60.0
"""Seconds after the last fault in which every agent has ended, one way or another."""
SKEW = 0.02


class Story:
    """A job from its first agent to its last."""

    def __init__(self, seed: int) -> None:
        self.world = World(seed)
        world, random = self.world, self.world.random
        self.network = Network(world)
        self.members: list[Member] = []
        self.look = Look(world, self)
        self.host_crashed = False
        self.low = random.choice((1, 1, 2, 2, 3, 4))
        self.high = self.low + random.choice((0, 0, 1, 2))
        self.restarts = random.choice((0, 1, 2, 3, 10))
        self._numbers = count()
        self._patience = Patience(grace=random.choice((0.5, 2.0)), barrier=BARRIER)
        self._habits = Habits(
            longest=random.choice((1.0, 4.0, 15.0)),
            fails=random.choice((0.0, 0.1, 0.4)),
            stubborn=random.choice((0.0, 0.1)),
            slow_start=random.choice((0.0, 0.15)),
        )
        self.quiet_at = world.between(1.0, 12.0)
        self.port = Port(self._process("n0"))
        limits = Limits(self.low, self.high, random.choice((0.2, 1.0, 3.0)), self.restarts, False, SILENCE / 3, SILENCE)
        self._terms = Terms("job", limits, silence=SILENCE)
        self._coordinate()

    @property
    def host(self) -> Process:
        """The process with the coordinator in it, and the first agent."""
        return self.port.process

    def size(self, id: str) -> int:
        """How many workers a node has."""
        return next(one.node.local_world_size for one in self.members if one.node.id == id)

    def guests(self) -> list[Member]:
        """The agents that are alive, but for the host's."""
        return [one for one in self.members if one.process.alive and not one.hosts]

    def play(self) -> None:
        """Let it all happen. Raises Broken."""
        world, random = self.world, self.world.random
        agents = random.randrange(self.low, self.high + 2)
        late = random.choice((0.1, 3.0))
        slow = world.chance(0.2)  # others may be heard before the host's own agent
        world.after(world.between(0.0, 0.5) if slow else 0.0, lambda: self.add("n0", self.host))
        for number in range(1, agents):
            world.after(world.between(0.0, late), lambda name=f"n{number}": self.add(name))
        kinds = random.sample(list(FAULTS), min(len(FAULTS), random.randrange(0, 6)))
        for _ in range(random.randrange(1, 10) if kinds else 0):
            fault = FAULTS[random.choice(kinds)]
            world.after(world.between(0.0, self.quiet_at), lambda fault=fault: self._befall(fault))
        world.after(self.quiet_at, self._calm)
        world.run(self.quiet_at + SETTLES_WITHIN, self._is_over)
        self.look.finish()

    def add(self, name: str, process: Process | None = None) -> None:
        """Start an agent."""
        process = process or self._process(name)
        if not process.alive:
            return
        size = self.world.random.choice((1, 1, 2, 3))
        node = Node(f"{name}.{next(self._numbers)}", name, size)
        where = Where("host", 29400, "job", self.low, self.high, JOIN_TIMEOUT, silence=SILENCE)
        member = Member(self.network, process, self.port, node, where, self._patience, self._habits, self.look)
        self.members.append(member)
        self.world.note(f"{node.id} begins with {size} workers")
        member.start()

    def host_anew(self) -> None:
        """Start another agent where the host was."""
        if not self.host.alive:
            self.port.move(self._process("n0"))
            self._coordinate()
            self.add("n0", self.host)

    def _coordinate(self) -> None:
        self.look.began()
        self.port.service = Watched(self.port, self._terms, self.look, self.host.clock)

    def signal(self, member: Member, signum: int) -> None:
        """Send an agent a signal."""
        member.process.soon(lambda: member.post(Signalled(signum)))

    def _process(self, name: str) -> Process:
        return Process(self.world, name, 1.0 + self.world.between(-SKEW, SKEW))

    def _befall(self, fault: Callable[[Story], None]) -> None:
        if self.host.alive and not self.world.calm:
            self.world.note(f"--- {fault.__name__}")
            fault(self)

    def _calm(self) -> None:
        self.world.note("--- the faults are over")
        self.world.calm = True
        self.network.refusing.clear()
        self.port.hear()
        self.network.heal(set(self.network.cut))
        for member in self.members:
            member.process.thaw()

    def _is_over(self) -> bool:
        return self.world.calm and not any(member.process.alive for member in self.members)
