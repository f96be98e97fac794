"""One node: a clerk, the agent it serves, and that agent's workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from launcher_core.model.job import Node, Place
from launcher_core.model.news import Cut, Formed, News, Over, Regroup
from launcher_core.rules.blame import Failed
from launcher_core.rules.clerk import Clerk
from launcher_core.rules.register import Address, Errand
from launcher_core.rules.testimony import statement
from shared.backends import Cut as CutOff
from shared.backends import LeasedView, View

if TYPE_CHECKING:
    from shared.world import World


class Member:
    """Its workers run from Formed until they were stopped. `held_up` is set by a fault: nothing of it runs."""

    def __init__(self, world: World, name: str, clerk: Clerk) -> None:
        self.world = world
        self.clerk = clerk
        self.view = LeasedView(world.memory) if clerk.leased else View(world.memory)
        self.node = Node(name, f"host-{name}", world.random.choice((1, 2)))
        self.running: Place | None = None
        self.rounds: list[int] = []
        self.over: Over | None = None
        self.dead = self.held_up = False
        self.departed = False
        """Whether its last errand was done."""
        self._held_up_in: Place | None = None
        self._errand: Errand | None = None
        self._again = False
        self._later: list[Callable[[], Any]] = []
        self.rejoin()
        world.after(0.0, self.look)
        world.after(0.0, self.beat)

    @property
    def gone(self) -> bool:
        """Whether it takes part no more."""
        return self.dead or self.over is not None

    @property
    def stopped(self) -> bool:
        """Whether it could not end its workers in time, because nothing of it ran."""
        return self.held_up or (self.running is not None and self.running is self._held_up_in)

    def say(self, what: str) -> None:
        """Note it in the history."""
        self.world.say(f"{self.node.id}: {what}")

    def when_up(self, act: Callable[[], Any]) -> None:
        """Act now, or once it is not held up any more."""
        if self.held_up:
            self._later.append(act)
        elif not self.dead:
            act()

    def go_on(self) -> None:
        """It is not held up any more."""
        self.held_up = False
        self._held_up_in = self.running
        later, self._later = self._later, []
        for act in later:
            self.when_up(act)

    # --- what its threads do ----------------------------------------------------------------------------

    def beat(self) -> None:
        """The backend's own sign of life."""
        if isinstance(self.view, LeasedView) and not self.gone:
            self.view.beat()
            self.world.after(self.world.memory.lease / 6, lambda: self.when_up(self.beat))

    def watch_lease(self) -> None:
        """What the thread does that watches over the lease."""
        if self.gone:
            return
        self._hear(self.clerk.lapse(self.world.now, self._held()))
        if self.clerk.holds:
            left = self.clerk.lapses_at(self._held()) - self.world.now
            self.world.after(max(0.001, left), lambda: self.when_up(self.watch_lease))

    def _held(self) -> float | None:
        return self.view.held_since() if isinstance(self.view, LeasedView) else None

    def look(self) -> None:
        """Run an errand, one call after the other, and what others do in between."""
        if self.gone:
            return
        if self._errand is not None:
            self._again = True
            return
        self._again = False
        self._errand = self.clerk.sync(self.world.now, self._serve)
        self._go_on_errand(None)

    def _serve(self, round: int) -> Address:
        return Address(round, self.node.name, 1)

    def _go_on_errand(self, answer: Any) -> None:
        assert self._errand is not None
        try:
            call = self._errand.send(answer)
        except StopIteration as end:
            self._errand = None
            self._done(end.value)
            return
        errand = self._errand
        self.world.after(self.world.latency(), lambda: self.when_up(lambda: self._make(call, errand)))

    def _make(self, call: Any, errand: Errand) -> None:
        if errand is not self._errand:
            return
        try:
            answer = getattr(self.view, call.method)(*call.args)
        except CutOff:
            self._errand = None
            self.world.after(0.2, lambda: self.when_up(self.look))
            return
        self.world.after(self.world.latency(), lambda: self.when_up(lambda: self._answer(answer, errand)))

    def _answer(self, answer: Any, errand: Errand) -> None:
        if errand is self._errand:
            self._go_on_errand(answer)

    def _done(self, register: Any) -> None:
        if register is None:
            self.world.after(self.world.random.uniform(0.0, 0.05), lambda: self.when_up(self.look))
            return
        self._hear(self.clerk.notice(register, self.world.now, self._held()))
        self.clerk.waiting(register, self.world.now)
        if not self.gone:
            due = max(0.001, min(self.world.pause, self.clerk.alarm - self.world.now))
            self.world.after(0.001 if self._again else due, lambda: self.when_up(self.look))

    # --- what its agent does ----------------------------------------------------------------------------

    def rejoin(self) -> None:
        """Ask for a place."""
        self.clerk.join(self.node, self.world.now)

    def _hear(self, news: list[News]) -> None:
        for one in news:
            self.say(repr(one)[:150])
            if isinstance(one, Formed):
                self._start(one.place)
            elif isinstance(one, Cut):
                self._stop(0.05)
            elif isinstance(one, Regroup):
                if "vanished" in one.reason:  # over for those who could reach it: who could not begin another job
                    self.world.jobs += 1
                self._stop(self.world.random.uniform(0.0, 0.5))
            elif isinstance(one, Over) and not one.settled:
                self._asked(one)
            elif isinstance(one, Over):
                self._end(one)

    def _asked(self, over: Over) -> None:
        """The job is over, and all are asked what they know: told once the workers are gone, and soon given up."""
        place, self.running = self.running, None
        round = place.round if place is not None else self.rounds[-1] if self.rounds else -1

        def tell() -> None:
            if not self.gone:
                self.clerk.testify(round, None, f"{self.node.id} has stopped")
                self.look()

        self.world.after(self.world.random.uniform(0.0, 1.5), lambda: self.when_up(tell))
        self.world.after(3.0, lambda: self.when_up(lambda: None if self.gone else self._end(over)))

    def _end(self, over: Over) -> None:
        self.over, self.running = over, None
        self.world.check_end(over)
        self._depart()

    def _start(self, place: Place) -> None:
        self.world.check_start(self, place)
        self.running = place
        self.world.after(0.0, lambda: self.when_up(self.watch_lease))
        self.rounds.append(place.round)
        fails = self.world.random.random() < self.world.failures
        self.world.after(
            self.world.random.uniform(0.5, self.world.longest),
            lambda: self.when_up(lambda: self._workers_end(place, fails)),
        )

    def _workers_end(self, place: Place, fails: bool) -> None:
        if self.running is not place or not self.clerk.holds:
            return
        if fails and not self.world.calm:
            self.world.failed_rounds.add((self.world.jobs, place.round))
            self.fail(place)
        else:
            self.running = None
            self.clerk.finished(place.round)
            self.look()

    def fail(self, place: Place) -> None:
        """Its workers have failed, if they still run."""
        if self.running is place and self.clerk.holds:
            self.say(f"fails in round {place.round}")
            self.running = None
            self._testify(place)
            self.clerk.failed(place.round, f"{self.node.id} failed")
            self.look()

    def _testify(self, place: Place) -> None:
        """Say more than the reason, as agents do in rounds of more than one node; some have only lost a connection."""
        if place.group_world_size > 1 and self.world.testify:
            lost = "Connection reset by peer" if self.world.random.random() < 0.5 else "it"
            worker = Failed(place.base_rank, 0, 1, 1, 0.0, message=lost)
            self.clerk.testify(place.round, statement(self.node.name, worker), "")

    def _stop(self, seconds: float) -> None:
        def stopped() -> None:
            self.running = None
            if not self.gone:
                self.rejoin()
                self.look()

        self.world.after(seconds, lambda: self.when_up(stopped))

    def leave(self) -> None:
        """A signal: its workers are stopped, and it goes."""
        self.running = None
        self.over = Over(False, "left")
        self.clerk.leave("it was told to stop")
        self._depart()

    def _depart(self) -> None:
        """Its last errand, in one go; given up when there is no way."""
        self._errand = None
        for _ in range(20):
            errand, answer = self.clerk.depart(self.world.now), None
            try:
                while True:
                    call = errand.send(answer)
                    answer = getattr(self.view, call.method)(*call.args)
            except StopIteration as end:
                self.departed = end.value is not None
                if self.departed:
                    return
            except CutOff:
                return
