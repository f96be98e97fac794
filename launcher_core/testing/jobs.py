"""Whole jobs over a register: many nodes, stepped in one thread, with faults between them and the register.

Each node is the launcher's own Clerk over a backend of its own; one call to a backend is made at a time, by a node
that a seed chooses. Time is reckoned, except where the backend keeps leases, which end by the clock on the wall.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import pytest

from launcher_core.model.job import Node, Place
from launcher_core.model.news import Cut, Formed, News, Over, Regroup
from launcher_core.rules.clerk import Clerk
from launcher_core.rules.register import Address, Errand, Terms
from launcher_core.rules.round import Limits

TICK = 0.05
"""Seconds of reckoned time that pass while every node makes a call or two."""
LEASE = 4.0
"""Seconds of reckoned time after which a silent node is lost, where the backend keeps no entries."""
LAST_CALL = 0.5
LONGEST = 60.0
"""Seconds of reckoned time within which everything has to happen."""
FAULTY = ("get_state", "set_state", "enter", "entries", "leads")


class Peer:
    """One node of a job: its clerk, its backend, and the workers that run from Formed until they are told to end."""

    def __init__(self, job: Job, number: int, backend: Any, limits: Limits) -> None:
        self.job = job
        self.backend = backend
        self.node = Node(f"n{number}", f"host{number}", 1 + number % 2)
        lease = float(backend.lease_seconds) if job.leased else LEASE
        self.clerk = Clerk(Terms(limits, lease=lease), leased=job.leased)
        self.running: Place | None = None
        self.over: Over | None = None
        self.dead = self.late = False
        self.news: list[str] = []
        self._errand: Errand | None = None
        self._answer: Any = None
        self.clerk.join(self.node, job.now)

    @property
    def here(self) -> bool:
        """Whether it takes part."""
        return not self.dead and self.over is None

    def advance(self) -> None:
        """Make one call to the backend, which may fail; what a thread of its own does about the lease comes first."""
        if not self.here:
            return
        self._hear(self.clerk.lapse(self.job.now, self._held()))
        if self.late:
            return
        if self._errand is None:
            self._errand, self._answer = self.clerk.sync(self.job.now, self._serve), None
        try:
            call = self._errand.send(self._answer)
            self._answer = self.job.call(self.backend, call.method, call.args)
        except StopIteration as end:
            self._errand = None
            if end.value is not None:
                self._hear(self.clerk.notice(end.value, self.job.now, self._held()))
                self.clerk.waiting(end.value, self.job.now)
        except OSError:
            self._errand = None  # to be tried again: it may have been done, or not

    def _held(self) -> float | None:
        return self.backend.held_since() if self.job.leased else None

    def depart(self) -> None:
        """Say the last word and be gone; the job may go on."""
        self.running, self._errand = None, None
        while True:
            errand, answer = self.clerk.depart(self.job.now), None
            try:
                while True:
                    call = errand.send(answer)
                    answer = getattr(self.backend, call.method)(*call.args)
            except StopIteration as end:
                if end.value is not None:
                    break
        self.dead = True

    def die(self) -> None:
        """Be gone, workers and all, without a word."""
        self.dead, self.running, self._errand = True, None, None
        if self.job.leased:
            self.backend.close()

    def _serve(self, round: int) -> Address:
        return Address(round, self.node.name, 1)

    def _hear(self, news: Sequence[News]) -> None:
        for one in news:
            self.news.append(repr(one)[:120])
            if isinstance(one, Formed):
                self.running = one.place
                self.job.check(self)
            elif isinstance(one, Cut | Regroup):
                self.running, self._errand = None, None
                self.clerk.join(self.node, self.job.now)
            elif isinstance(one, Over):
                self.over, self.running = one, None


class Job:
    """The nodes of one job. `trouble`: the share of calls that fail, before or after they have done what they do."""

    def __init__(self, make: Callable[[], Any], limits: Limits, *, leased: bool, seed: int, seconds: float) -> None:
        self._make = make
        self._limits = limits
        self.leased = leased
        self.random = random.Random(seed)
        self.trouble = 0.0
        self.now = monotonic() if leased else 0.0
        self.peers: list[Peer] = []
        self._longest = seconds if leased else LONGEST

    def join(self, count: int) -> list[Peer]:
        """So many more nodes."""
        new = [Peer(self, len(self.peers) + number, self._make(), self._limits) for number in range(count)]
        self.peers += new
        return new

    def call(self, backend: Any, method: str, args: tuple[Any, ...]) -> Any:
        """Make a call to a backend, or have it fail: before anything was done, or with the answer lost."""
        fails = method in FAULTY and self.random.random() < self.trouble
        if fails and self.random.random() < 0.5:
            raise OSError("the kit has this call fail before it does anything")
        answer = getattr(backend, method)(*args)
        if fails:
            raise OSError("the kit has the answer to this call lost")
        return answer

    def until(self, condition: Callable[[], Any], expected: str) -> None:
        """Have all nodes go on until it is so; fails with what was expected when it takes too long."""
        give_up = self.now + self._longest
        while not condition():
            if self.now > give_up:
                told = "; ".join(f"{peer.node.id}: {peer.news[-1:] or 'nothing'}" for peer in self.peers)
                pytest.fail(f"over this register {expected}; after {self._longest:g} s what they know is: {told}")
            self.pass_time()

    def pass_time(self) -> None:
        """Let a moment pass, in which every node makes a call or two, in any order."""
        for peer in self.random.choices(self.peers, k=2 * len(self.peers)):
            peer.advance()
        if self.leased:
            threading.Event().wait(TICK / 10)
            self.now = monotonic()
        else:
            self.now += TICK

    def wait(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.pass_time()

    def together(self, peers: Sequence[Peer]) -> bool:
        """Whether just these run, in one round of theirs alone."""
        running = {peer: peer.running for peer in self.peers if peer.running is not None}
        rounds = {(place.round, place.group_world_size) for place in running.values()}
        return running.keys() == set(peers) and len(rounds) == 1 and rounds.pop()[1] == len(peers)

    def check(self, peer: Peer) -> None:
        """Nobody runs in another round than the one that this node has just begun, or with its rank."""
        mine = peer.running
        assert mine is not None
        for other in self.peers:
            theirs = other.running
            if theirs is None or other is peer:
                continue
            expected = "over this register no two rounds must ever run at once"
            assert theirs.round == mine.round, f"{expected}: {peer.node.id} is in {mine}, {other.node.id} in {theirs}"
            expected = f"nodes of one round have to have ranks of their own and one address, not {mine} and {theirs}"
            assert theirs.group_rank != mine.group_rank, expected
            assert theirs.master_addr == mine.master_addr, expected

    def finish(self) -> None:
        """Have the workers of every node that runs succeed, and all be told."""
        self.until(
            lambda: self.together([peer for peer in self.peers if peer.here]), "all nodes have to run in the end"
        )
        said: dict[Peer, int] = {}

        def over() -> bool:
            for peer in self.peers:
                # by the clock on the wall a node may have been cut off meanwhile; by reckoned time nobody has
                if peer.running is not None and (peer not in said or self.leased):
                    if said.get(peer) != peer.running.round:
                        peer.clerk.finished(peer.running.round)
                    said[peer] = peer.running.round
            return not any(peer.here for peer in self.peers)

        self.until(over, "all nodes have to hear that the job is over once the workers of all have succeeded")
        ends = [peer.over.succeeded for peer in self.peers if peer.over is not None]
        assert all(ends), "the job has to succeed once the workers of all nodes have"
