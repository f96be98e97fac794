"""One agent: the real table of rules/supervise.py over a main loop and workers that are made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from signal import SIGKILL
from typing import Any, ClassVar, NamedTuple

from launcher_core.model.job import Node, WorkerExit
from launcher_core.rules import steps
from launcher_core.rules import supervise as table
from launcher_core.rules.blame import Failed
from launcher_core.rules.guest import Where
from launcher_core.rules.round import Close
from launcher_core.rules.steps import State
from launcher_core.rules.supervise import Agent, Patience, Step
from launcher_core.rules.testimony import statement
from launcher_core.runtime.coordinated import HOST_ENDED
from simulated.host import Port
from simulated.network import Network
from simulated.talk import Talk
from simulated.world import Process, Timer, World

CLOSE_TIMEOUT = 5.0
"""As in runtime/coordinated.py: how long an agent that has ended waits for the others to be told."""


class Habits(NamedTuple):
    """What workers do in this seed."""

    longest: float
    fails: float
    """How probable it is that a worker fails."""
    stubborn: float
    """How probable it is that one does not end on SIGTERM."""
    slow_start: float
    """Seconds at most until a group is started."""


class Worker:
    """One process that works, and ends one way or another."""

    def __init__(self, member: Member, local_rank: int, round: int) -> None:
        self.alive = True
        self.round = round
        self.asked_to_stop = False
        self._member = member
        self._local_rank = local_rank
        world, habits = member.world, member.habits
        fails = not world.calm and world.chance(habits.fails)
        self._stubborn = world.chance(habits.stubborn)
        work = world.between(0.1, 1.0 if world.calm else habits.longest)
        self._end_in(work, world.random.choice((1, 7, -11, -9)) if fails else 0)

    def signal(self, signum: int) -> None:
        """Have it end soon, if it does as asked."""
        self.asked_to_stop = self.asked_to_stop or self.alive
        world = self._member.world
        if signum == SIGKILL:
            self._end_in(world.between(0.0, 0.05), -9)
        elif not self._stubborn:
            self._end_in(world.between(0.0, 1.5), world.random.choice((-signum, -signum, 0, 1)))

    def vanish(self) -> None:
        """It is gone, and nobody is told."""
        self.alive = False

    def _end_in(self, seconds: float, code: int) -> None:
        self._member.world.after(seconds, lambda: self._ended(code))

    def _ended(self, code: int) -> None:
        if self.alive:
            self.alive = False
            self._member.worker_ended(self, self._local_rank, code)


class Member:
    """One agent and its workers."""

    def __init__(
        self,
        network: Network,
        process: Process,
        port: Port,
        node: Node,
        where: Where,
        patience: Patience,
        habits: Habits,
        look: Any,
    ) -> None:
        self.world: World = network.world
        self.process = process
        self.node = node
        self.habits = habits
        self.agent = Agent(node.local_world_size, patience)
        self.workers: list[Worker] = []
        self.hosts = port.process is process
        self.began_at = self.world.now
        self.done = False
        """Whether the main loop has ended."""
        self.talk = Talk(network, process, port, where, node.name, self.post, look)
        self.talk.on_over = self._hung_up
        self._watch = look
        self._port = port
        self._inbox: deque[Any] = deque()
        self._alarms: list[Timer] = []
        self._busy_until = 0.0
        self._awake = False
        process.on_death.append(self._died)

    def start(self) -> None:
        """Begin the launch."""
        self.talk.start()
        self._take(table.begin(self.agent))

    @property
    def rounds_alive(self) -> set[int]:
        """The rounds whose workers run here."""
        return {worker.round for worker in self.workers if worker.alive}

    def post(self, event: Any) -> None:
        """Have the main loop see this, in order."""
        self._inbox.append(event)
        self._rouse()

    def _rouse(self) -> None:
        if not self._awake:
            self._awake = True
            hop = self.world.random.random() * 0.002
            self.world.after(max(hop, self._busy_until - self.world.now), lambda: self.process.soon(self._loop))

    def _loop(self) -> None:
        self._awake = False
        if self._inbox:
            event = self._inbox.popleft()
            if not self.done:
                self._watch.stepped(self, event)
                self._take(table.step(self.agent, event))
            if self._inbox:
                self._rouse()

    def _take(self, taken: Step) -> None:
        self.agent, effects = taken
        for effect in effects:
            self._DO[type(effect)](self, effect)
        if self.agent.state is State.DONE and not self.done:
            self.done = True
            self._watch.ended(self)
            self._close()

    # --- the end ----------------------------------------------------------------------------------------

    def _close(self) -> None:
        self._disarm(None)
        for worker in self.workers:
            worker.vanish()
        self.talk.close()
        self.process.after(CLOSE_TIMEOUT if not self.talk.connecting else 0.3, self._hung_up)

    def _hung_up(self) -> None:
        """The conversation is over, or has had its time."""
        if not self.done:
            return
        coordinator = self._port.service
        if self.hosts and coordinator is not None and coordinator.members:
            coordinator.change(Close(HOST_ENDED))
            coordinator.on_empty = self.process.die
            self.process.after(CLOSE_TIMEOUT, self.process.die)
        else:
            self.process.die()

    def _died(self) -> None:
        for worker in self.workers:
            worker.vanish()

    # --- workers ----------------------------------------------------------------------------------------

    def worker_ended(self, worker: Worker, local_rank: int, code: int) -> None:
        """The kernel has news of a worker."""
        if self.process.alive and worker in self.workers:
            event = steps.Exited(WorkerExit(local_rank, 1, code, 0.0, worker.asked_to_stop))
            self.process.soon(lambda: self.post(event))

    def _start(self, effect: steps.Start) -> None:
        size = self.node.local_world_size
        self._watch.starting(self, effect.place)
        self.workers = [Worker(self, local, effect.place.round) for local in range(size)]
        self._busy_until = self.world.now + self.world.between(0.0, self.habits.slow_start)

    def _look(self, effect: steps.Look) -> None:
        """Some looks take longer than they may."""
        seconds = self.world.between(0.0, 0.05) if self.world.chance(0.9) else 5.0
        self.process.after(seconds, lambda: self.post(steps.Looked(effect.round)))

    def _ask_more(self, effect: steps.AskMore) -> None:
        """Some ask for more time now and then."""
        asks = [local for local in effect.local_ranks if self.world.chance(0.3)]
        self.post(steps.Wants(effect.round, tuple((local, self.world.between(0.1, 1.0)) for local in asks)))

    def _examine(self, effect: steps.Examine) -> None:
        remains = (steps.Remains(local, 1, "uninterruptible", False) for local in effect.local_ranks)
        self.post(steps.Examined(effect.round, tuple(remains)))

    def _kill(self, effect: steps.Kill) -> None:
        for local in effect.local_ranks:
            self.workers[local].signal(effect.signum)

    def _pass(self, effect: steps.Pass) -> None:
        """Workers of the simulator go on whatever is passed on to them."""

    def _sweep(self, effect: steps.Sweep) -> None:
        for worker in self.workers:
            worker.vanish()

    def _arm(self, effect: steps.Arm) -> None:
        self._alarms.append(self.process.after(effect.seconds, lambda: self.post(steps.Rang(effect.alarm))))

    def _disarm(self, effect: Any) -> None:
        for timer in self._alarms:
            timer.function = None
        self._alarms.clear()

    # --- what is said to the meeting --------------------------------------------------------------------

    def _join(self, effect: steps.Join) -> None:
        self.talk.ask(lambda guest, now: guest.join(self.node, now))

    def _tell_failed(self, effect: steps.TellFailed) -> None:
        self._testify(steps.TellKnown(effect.round, self.agent.failures[0].local_rank))
        self.talk.ask(lambda guest, now: guest.failed(effect.round, effect.reason))

    def _testify(self, effect: steps.TellKnown) -> None:
        told = None
        if effect.local_rank is not None and self.agent.place is not None:
            (code,) = (exit.code for exit in self.agent.exits if exit.local_rank == effect.local_rank)
            rank = self.agent.place.base_rank + effect.local_rank
            lost = "ConnectionResetError: lost" if code == 1 else "it"
            told = statement(self.node.name, Failed(rank, effect.local_rank, 1, code, 0.0, message=lost))
        said = "" if told else f"{len(self.agent.exits)} have ended"
        self.talk.ask(lambda guest, now: guest.testify(effect.round, told, said, now))

    def _tell_finished(self, effect: steps.TellFinished) -> None:
        self.talk.ask(lambda guest, now: guest.finished(effect.round))

    def _leaving(self, effect: steps.Leaving) -> None:
        if self.hosts:
            self.talk.ask(lambda guest, now: guest.end_job(effect.reason))

    def _leave(self, effect: steps.Leave) -> None:
        """When this node hosts, the job cannot go on without it and is closed."""
        if self.hosts:
            self.talk.ask(lambda guest, now: guest.end_job(effect.reason))
        else:
            self.talk.ask(lambda guest, now: guest.leave(effect.reason))

    def _say(self, effect: steps.Say) -> None:
        pass

    _DO: ClassVar[dict[type, Callable[[Member, Any], None]]] = {
        steps.Join: _join,
        steps.Start: _start,
        steps.Look: _look,
        steps.AskMore: _ask_more,
        steps.Examine: _examine,
        steps.Kill: _kill,
        steps.Pass: _pass,
        steps.Sweep: _sweep,
        steps.Arm: _arm,
        steps.Disarm: _disarm,
        steps.TellFailed: _tell_failed,
        steps.TellKnown: _testify,
        steps.TellFinished: _tell_finished,
        steps.Leaving: _leaving,
        steps.Leave: _leave,
        steps.Say: _say,
    }
