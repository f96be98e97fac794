"""A Meeting over a RendezvousBackend: every node applies its own changes to a shared register, by compare-and-swap.

For backends that only offer a register with a fencing token. One helper thread makes all calls to the backend and
looks at the register every `poll` seconds. The agent of a round's rank 0 serves the store that its workers meet at.
"""

import socket
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

from launcher_core.errors import LauncherError, RendezvousConnectionError, RendezvousStateError, RendezvousTimeoutError
from launcher_core.hooks.ports import RendezvousBackend, Service, Store
from launcher_core.model.job import Node, Place
from launcher_core.model.news import Formed, News, Over, Regroup, Trouble, Waiting
from launcher_core.rules import round as rounds
from launcher_core.rules.register import Address, Register, decode, encode, is_host, outlook, watched
from launcher_core.rules.round import Assign, Change, Limits, Phase
from launcher_core.runtime.serving import PortServer, listen

SWAPS = 1000
"""Lost swaps in a row after which the backend is taken to be broken."""
WAITING_EVERY = 10.0


class Terms(NamedTuple):
    """What every member of the job is held to; times in seconds."""

    limits: Limits
    join_timeout: float = 600.0
    silence: float = 15.0
    poll: float = 0.2
    local_addr: str | None = None


class RegisterMeeting:
    """A Meeting. Its methods belong to the agent's thread; news come from the helper thread."""

    def __init__(self, backend: RendezvousBackend, store: Store, terms: Terms, assign: Assign | None = None) -> None:
        self._backend = backend
        self._store = store
        self._terms = terms
        self._assign = assign
        self._orders: SimpleQueue[Change | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._tell: Callable[[News], None] = lambda news: None
        self._me = ""
        self._place: Place | None = None
        self._over = False
        self._join_by: float | None = None
        self._next_beat = 0.0
        self._next_word = 0.0
        self._heard: dict[str, tuple[int, float]] = {}
        self._last_call: tuple[Any, float] | None = None
        self._server: PortServer | None = None
        self._served: Service | None = None

    def describe(self) -> dict[str, str]:
        """How the register is used, and every timeout."""
        terms = self._terms
        return {
            "backend": f"{self._backend.name}, a shared register",
            "read every": f"{terms.poll:g} s",
            "join_timeout": f"{terms.join_timeout:g} s",
            "last_call_timeout": f"{terms.limits.last_call:g} s",
            "a silent node is lost after": f"{terms.silence:g} s",
            "workers meet at": "the node that gets rank 0, on a port that the kernel chooses",
        }

    def start(self, tell: Callable[[News], None]) -> None:
        """Start the helper thread."""
        self._tell = tell
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)
        self._thread.start()

    def join(self, node: Node) -> None:
        """Ask for a place in the next round."""
        self._me = node.id
        self._orders.put(rounds.Join(node))

    def failed(self, round: int, reason: str) -> None:
        """Report a failure; the answer is Regroup or Over."""
        self._orders.put(rounds.Failed(self._me, round, reason))

    def finished(self, round: int) -> None:
        """Report success; the answer is Over or Regroup."""
        self._orders.put(rounds.Finished(self._me, round))

    def abandon(self, reason: str) -> None:
        """End the job as failed."""
        self._orders.put(rounds.Close(reason))

    def leave(self, reason: str) -> None:
        """Go away; the job may go on without this node."""
        self._orders.put(rounds.Leave(self._me, reason))

    def close(self) -> None:
        """Carry out what was asked for last, and release everything."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(self._terms.silence)
            self._thread = None
        if self._server is not None:
            self._server.stop()
            self._server = None

    # --- the helper thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            changes, ending = self._next_orders()
            try:
                if self._me and not self._over:
                    self._sync(changes)
            except LauncherError as error:
                self._tell(Trouble(error))
                self._over = True
            except Exception as error:
                broken = RendezvousConnectionError(f"the register of {self._backend.name} failed: {error}")
                self._tell(Trouble(broken))
                self._over = True
            if ending:
                return

    def _next_orders(self) -> tuple[list[Change], bool]:
        """What was asked for since, or within `poll` seconds; whether it was the last."""
        orders: list[Change | None] = []
        try:
            orders.append(self._orders.get(timeout=self._terms.poll))
            while True:
                orders.append(self._orders.get_nowait())
        except Empty:
            pass
        return [order for order in orders if order is not None], None in orders

    def _sync(self, changes: list[Change]) -> None:
        """Fold what this node has to say into the register, and tell the agent what the register says."""
        now = monotonic()
        if any(isinstance(change, rounds.Join) for change in changes):
            self._place, self._join_by = None, now + self._terms.join_timeout
        for _ in range(SWAPS):
            register, token = self._read()
            fresh = self._fold(register, changes, now)
            if fresh == register or self._swap(fresh, token):
                self._notice(fresh, now)
                return
        raise RendezvousConnectionError(f"{SWAPS} swaps in a row were lost at {self._backend.name}")

    def _read(self) -> tuple[Register, Any]:
        found = self._backend.get_state()
        if found is None:
            return Register(), None
        try:
            return decode(found[0]), found[1]
        except ValueError as error:
            raise RendezvousStateError(f"{self._backend.name}: {error}") from error

    def _swap(self, register: Register, token: Any) -> bool:
        done = self._backend.set_state(encode(register), token)
        return done is not None and done[2]

    def _fold(self, register: Register, changes: list[Change], now: float) -> Register:
        reason = f"no sign of life for {self._terms.silence:g} s"
        lost = [rounds.Leave(id, reason) for id in self._silent(register, now)]
        round = register.round
        for change in (*changes, *lost, *self._tick(register, now)):
            at = round.deadline if isinstance(change, rounds.Tick) and round.deadline is not None else now
            round, _ = rounds.apply(round, change, at, self._terms.limits, self._assign)
        beats = dict(register.beats)
        if changes or now >= self._next_beat:
            beats[self._me] = beats.get(self._me, 0) + 1
            self._next_beat = now + self._terms.silence / 3
        fresh = register._replace(round=round, beats=beats)
        return fresh._replace(address=self._serve(round.number)) if is_host(fresh, self._me) else fresh

    def _silent(self, register: Register, now: float) -> list[str]:
        """Ids of nodes that have given no sign of life for too long, by this node's own clock."""
        silent = []
        for id in watched(register, self._me):
            count = register.beats.get(id, 0)
            if self._heard.get(id, (-1, 0.0))[0] != count:
                self._heard[id] = (count, now)
            elif now - self._heard[id][1] > self._terms.silence:
                silent.append(id)
        return silent

    def _tick(self, register: Register, now: float) -> list[Change]:
        """A Tick once this node has seen the same last call for as long as it lasts. Its date is another's clock."""
        deadline = register.round.deadline
        if deadline is None:
            self._last_call = None
            return []
        if self._last_call is None or self._last_call[0] != deadline:
            self._last_call = (deadline, now)
        return [rounds.Tick()] if now - self._last_call[1] >= self._terms.limits.last_call else []

    def _serve(self, number: int) -> Address:
        """Serve a new, empty store, on a port that is bound once and kept."""
        host = self._terms.local_addr or socket.gethostname()
        if self._server is None:
            self._server = PortServer(listen(None, 0), [])
            self._server.start()
        fresh = self._store.serve()
        self._server.replace(self._served, fresh)
        self._served = fresh
        return Address(number, host, self._server.port)

    def _notice(self, register: Register, now: float) -> None:
        news = outlook(register, self._me, self._place, self._terms.limits)
        if isinstance(news, Formed):
            self._place, self._join_by = news.place, None
        elif isinstance(news, Regroup):
            self._place = None
        elif isinstance(news, Over):
            self._over = True
        if news is not None:
            self._tell(news)
        elif self._place is None:
            self._wait_on(register, now)

    def _wait_on(self, register: Register, now: float) -> None:
        round, limits = register.round, self._terms.limits
        if round.phase is Phase.RUNNING:
            self._join_by = None  # a spare waits as long as the job runs
            detail = "the job is full; this node is a spare"
        else:
            detail = rounds.missing(round, limits)
        if self._join_by is not None and now >= self._join_by:
            raise RendezvousTimeoutError(f"no round formed within {self._terms.join_timeout:g} s: {detail}")
        if now >= self._next_word > 0:
            left = None if self._join_by is None else self._join_by - now
            then = "" if left is None else "this node gives up"
            self._tell(Waiting(len(round.here), limits.low, limits.high, detail, left, then))
        if now >= self._next_word:
            self._next_word = now + WAITING_EVERY
