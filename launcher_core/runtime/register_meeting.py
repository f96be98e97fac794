"""A Meeting over a RendezvousBackend: threads, clock and sockets around rules/clerk.py.

One thread makes all calls to the backend, and may be held up in them; so a second one watches over this node's lease,
and has the workers killed in time whatever the first one waits for. The agent of a round's rank 0 serves the store
that its workers meet at.
"""

import random
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from launcher_core.errors import (
    HostLostError,
    LauncherError,
    RendezvousConnectionError,
    RendezvousStateError,
    RendezvousTimeoutError,
)
from launcher_core.hooks.ports import RendezvousBackend, Service, Store
from launcher_core.model.job import Node
from launcher_core.model.news import Formed, News, Trouble, Waiting
from launcher_core.rules.clerk import WAITING_EVERY, Clerk
from launcher_core.rules.crowd import missing
from launcher_core.rules.register import Address, Errand, Register
from launcher_core.runtime.listening import advertised
from launcher_core.runtime.serving import PortServer, listen

SWAPS = 200
"""Lost swaps in a row after which the backend is taken to be broken."""
LOOK_EVERY = 5.0
"""Seconds between two looks at a backend that tells of changes: what it did not tell is seen then."""
RETRY = 0.2
"""Seconds between two attempts to reach what cannot be reached."""
LEAVE_WITHIN = 5.0
"""Seconds for the last word of a node that goes."""
UNREACHED = 20.0
"""Seconds without a connection to where a round's workers meet until a node gives up."""

VANISHED = 3
"""How often the state may be gone while workers run."""

_TRANSIENT = (RendezvousConnectionError, OSError)


class RegisterMeeting:
    """A Meeting. Its methods belong to the agent's thread; news come from the helper threads."""

    def __init__(
        self, backend: RendezvousBackend, store: Store, clerk: Clerk, poll: float, local_addr: str | None
    ) -> None:
        """`poll`: seconds between two looks at a backend that tells nothing; `local_addr`: what is advertised."""
        self._backend: Any = backend
        self._store = store
        self._clerk = clerk
        self._local_addr = local_addr
        self._watched = hasattr(backend, "watch")
        self._pause = LOOK_EVERY if self._watched else poll
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._tell: Callable[[News], None] = lambda news: None
        self._threads: list[threading.Thread] = []
        self._turn = threading.Condition()
        """Guards the clerk and `_closing`; told when a lease is to be watched, and at the end."""
        self._closing = False
        self._gave_up = False
        self._vanished = 0
        self._lost_since: float | None = None
        """When the backend was first asked in vain, since it was last reached."""
        self._next_line = 0.0
        self._unmet: tuple[Address, float] | None = None
        self._met: Address | None = None
        self._server: PortServer | None = None
        self._served: Service | None = None
        self._address: Address | None = None

    def describe(self) -> dict[str, str]:
        """How the register is used, and every timeout."""
        terms = self._clerk.terms
        told = {
            "backend": f"{self._backend.name}, a shared register",
            "changes": "told by it" if self._watched else f"looked for every {self._pause:g} s",
            "join_timeout": f"{terms.join_timeout:g} s",
            "last_call_timeout": f"{terms.limits.last_call:g} s",
            "a silent node is lost after": f"{terms.lease:g} s",
            "a node that is cut off kills its workers after": f"{self._clerk.lapses_at(0.0):g} s",
            "MASTER_ADDR": self._local_addr or "the address of the node that gets rank 0",
            "MASTER_PORT": "(chosen by the kernel when it is bound)",
        }
        more = getattr(self._backend, "describe", None)
        return {**told, **more()} if more is not None else told

    def start(self, tell: Callable[[News], None]) -> None:
        """Start the helper threads."""
        self._tell = tell
        for name, run in ("rendezvous", self._run), ("lease", self._guard):
            self._threads.append(threading.Thread(target=run, name=name, daemon=True))
            self._threads[-1].start()

    def join(self, node: Node) -> None:
        """Ask for a place in the next round."""
        self._orders.put(lambda: self._clerk.join(node, monotonic()))

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """Report a failure; the answer is Regroup or Over."""
        self._orders.put(lambda: self._clerk.failed(round, reason, forgiven))

    def testify(self, round: int, testimony: Mapping[str, Any] | None, told: str) -> None:
        """Have the other nodes know what this one knows of a failure."""
        self._orders.put(lambda: self._clerk.testify(round, testimony, told))

    def finished(self, round: int) -> None:
        """Report success; the answer is Over or Regroup."""
        self._orders.put(lambda: self._clerk.finished(round))

    def abandon(self, reason: str) -> None:
        """End the job as failed."""
        self._orders.put(lambda: self._clerk.end_job(reason))

    def requeue(self, reason: str) -> None:
        """End the job as preempted."""
        self._orders.put(lambda: self._clerk.end_job(reason, requeue=True))

    def leaving(self, reason: str) -> None:
        """Nothing to say yet: the job may go on without this node."""

    def leave(self, reason: str) -> None:
        """Go away; the job may go on without this node."""
        self._orders.put(lambda: self._clerk.leave(reason))

    def close(self) -> None:
        """Carry out what was asked for last, and release everything; a backend that does not answer is given up."""
        self._orders.put(None)
        give_up = monotonic() + self._clerk.terms.lease + LEAVE_WITHIN
        for thread in self._threads:
            thread.join(max(0.0, give_up - monotonic()))
        self._threads = []
        if self._server is not None:
            self._server.stop()
            self._server = None

    # --- the thread that watches over the lease -----------------------------------------------------------

    def _guard(self) -> None:
        with self._turn:
            while not self._closing:
                held, now = self._held_since(), monotonic()
                for news in self._clerk.lapse(now, held):
                    self._tell(news)
                self._turn.wait(max(0.0, self._clerk.lapses_at(held) - now) if self._clerk.holds else None)

    def _held_since(self) -> float | None:
        return float(self._backend.held_since()) if self._clerk.leased else None

    def _changed(self) -> None:
        """Look again: called by the backend, from any thread."""
        self._orders.put(_nothing)
        with self._turn:
            self._turn.notify_all()

    # --- the thread that talks to the backend -------------------------------------------------------------

    def _run(self) -> None:
        try:
            if self._watched:
                self._backend.watch(self._changed)
            while not self._closing:
                self._obey()
                self._step()
        except LauncherError as error:
            self._tell(Trouble(error))
        except Exception as error:
            broken = RendezvousConnectionError(f"the register of {self._backend.name} failed: {error!r}")
            self._tell(Trouble(broken))
        finally:
            with self._turn:
                self._closing = True
                self._turn.notify_all()
            if not self._gave_up:
                with suppress(LauncherError, OSError):
                    self._depart()
            if self._watched:
                self._backend.close()

    def _obey(self) -> None:
        """Do what was asked for since, or within a pause; the pause ends when the clerk has something to do."""
        with self._turn:
            idle = not self._clerk.me or self._clerk.ended
            due = self._clerk.alarm
        wait = max(0.0, min(self._pause, due - monotonic()))
        orders: list[Callable[[], None] | None] = []
        with suppress(Empty):
            orders.append(self._orders.get(timeout=None if idle else wait))
            while True:
                orders.append(self._orders.get_nowait())
        with self._turn:
            for order in orders:
                self._closing = self._closing or order is None
                if order is not None:
                    order()

    def _step(self) -> None:
        begun = monotonic()
        try:
            register = self._sync()
        except _TRANSIENT as error:
            self._out_of_reach(error, begun)
            self._sleep(RETRY)
        else:
            self._next_line, self._lost_since = 0.0, None
            if register is not None:
                self._notice(register)

    def _out_of_reach(self, error: Exception, begun: float) -> None:
        """Say that the backend cannot be reached, every now and then. Raises when it could not for too long."""
        now, terms = monotonic(), self._clerk.terms
        self._lost_since = begun if self._lost_since is None else self._lost_since
        left = self._lost_since + terms.join_timeout - now
        if left <= 0:
            patience = f"{terms.join_timeout:g} s (--rdzv-conf join_timeout)"
            self._gave_up = True
            raise HostLostError(f"{terms.where} could not be reached for {patience}: {error}") from error
        if now >= self._next_line:
            self._next_line = now + WAITING_EVERY
            low, high = terms.limits.low, terms.limits.high
            self._tell(Waiting(0, low, high, str(error), left, "this node gives up"))

    def _sleep(self, seconds: float) -> None:
        """Wait, unless it is time to end; what was asked for meanwhile is done afterwards."""
        with self._turn:
            if not self._closing:
                self._turn.wait(seconds)

    def _sync(self) -> Register | None:
        """Have the clerk fold what there is to say into the register; the register, None when there is nothing."""
        for attempt in range(SWAPS):
            with self._turn:
                if not self._clerk.me or self._clerk.ended:
                    return None
            register = self._run_errand(self._clerk.sync(monotonic(), self._serve))
            if register is not None:
                return register
            self._sleep(random.uniform(0.0, min(0.5, 0.005 * 2**attempt)))  # before reading, never after
        raise RendezvousConnectionError(f"{SWAPS} swaps in a row were lost at {self._backend.name}")

    def _run_errand(self, errand: Errand) -> Register | None:
        answer = None
        try:
            while True:
                with self._turn:
                    call = errand.send(answer)
                answer = getattr(self._backend, call.method)(*call.args)
                if call.method == "get_state" and answer is None:
                    self._check_kept()
        except StopIteration as end:
            register: Register | None = end.value
            return register
        except LauncherError:
            raise
        except ValueError as error:
            raise RendezvousStateError(f"{self._backend.name}: {error}") from error

    def _check_kept(self) -> None:
        """There is no state. Raises when there should have been one too often: the job would start over for ever."""
        with self._turn:
            self._vanished += self._clerk.holds
        if self._vanished > VANISHED:
            raise RendezvousStateError(
                f"{self._backend.name}: the shared state has vanished {self._vanished} times while workers ran; see to "
                "it that the place that --rdzv-endpoint names is kept, and is the same for all nodes"
            )

    def _serve(self, number: int) -> Address:
        """Where this round's workers meet: a new, empty store, on a port that is bound once and kept."""
        if self._address is not None and self._address.round == number:
            return self._address
        if self._server is None:
            self._server = PortServer(listen(None, 0), [])
            self._server.start()
        fresh = self._store.serve()
        self._server.replace(self._served, fresh)
        self._served = fresh
        reached_from = getattr(self._backend, "local_address", str)()
        self._address = Address(number, self._local_addr or advertised(reached_from), self._server.port)
        return self._address

    def _notice(self, register: Register) -> None:
        """Tell the agent what the register says."""
        now = monotonic()
        if not self._can_meet(register, now):
            self._sleep(RETRY)
            self._changed()
            return
        with self._turn:
            news = [*self._clerk.notice(register, now, self._held_since()), *self._clerk.waiting(register, now)]
            late = self._clerk.too_late(now)
            for one in news:
                self._tell(one)
            if any(isinstance(one, Formed) for one in news):
                self._turn.notify_all()
        if late:
            seconds = f"{self._clerk.terms.join_timeout:g} s (--rdzv-conf join_timeout)"
            why = missing(register.round, self._clerk.terms.limits)
            raise RendezvousTimeoutError(f"no round formed within {seconds}: {why}")

    def _can_meet(self, register: Register, now: float) -> bool:
        """Whether this node can connect to where it is to meet the others, if it is. Raises when it never could."""
        address, round = register.address, register.round
        ours = address in (None, self._address, self._met)
        if address is None or ours or address.round != round.number or self._clerk.me not in round.seated.ids:
            return True
        try:
            socket.create_connection((address.host, address.port), timeout=1.0).close()
        except OSError as error:
            since = self._unmet[1] if self._unmet is not None and self._unmet[0] == address else now
            self._unmet = address, since
            if now - since < UNREACHED:
                return False
            raise RendezvousConnectionError(
                f"{round.seated[0].name} gives {address.host}, port {address.port} as the place where workers meet, "
                f"which this node cannot reach ({error}); set --local-addr there"
            ) from error
        self._met, self._unmet = address, None
        return True

    def _depart(self) -> None:
        """Say the last word, and take away what this node has put up."""
        give_up = monotonic() + LEAVE_WITHIN
        while self._clerk.me and monotonic() < give_up:
            if self._run_errand(self._clerk.depart(monotonic())) is not None:
                return
            self._sleep(random.uniform(0.0, 0.05))


def _nothing() -> None:
    """An order that only has the register looked at."""
