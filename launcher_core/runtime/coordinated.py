"""A rendezvous run by a coordinator: this node's end of it, and, on one node, the coordinator itself.

A plugin says where the job meets and whether this node hosts it; everything else is here.  One helper thread
holds the connection and turns what the coordinator pushes into news for the agent.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from launcher_core.hooks.ports import Store
from launcher_core.model.job import Node
from launcher_core.model.news import News, Notice
from launcher_core.rules.guest import Guest, Where
from launcher_core.rules.ranks import Assign
from launcher_core.rules.round import Close, Limits
from launcher_core.runtime.conversation import Conversation
from launcher_core.runtime.coordinator import Coordinator, Terms
from launcher_core.runtime.listening import PortInUse, listen, local_address, lookup, refuse_loopback
from launcher_core.runtime.serving import PortServer

HOST_ENDED = "the agent of the node that hosts the job has ended"
"""What the others are told when it has not said anything else before."""


class Spot(NamedTuple):
    """Where a job meets, as a plugin decided it. Times in seconds."""

    host: str
    port: int
    hosting: str
    """"yes", "no", "maybe": host if the port is free, else be a guest of whoever has it; "unknown": the name has
    no address yet, and may turn out to be this machine's."""
    why: str
    """Why this node hosts or not, for people."""
    bind: str | None
    """The address to listen on; None for all."""
    run_id: str
    limits: Limits
    join_timeout: float = 600.0
    close_timeout: float = 30.0
    interval: float = 0.5
    silence: float = 1.5
    host_loss: float = 4.5
    master_addr: str | None = None
    token: bytes = b""


class CoordinatedMeeting:
    """A Meeting. Its methods belong to the agent's thread; news come from the helper thread."""

    def __init__(self, spot: Spot, store: Store | None, assign: Assign | None = None) -> None:
        self._spot = spot
        self._store = store
        self._assign = assign
        self._server: PortServer | None = None
        self._coordinator: Coordinator | None = None
        self._conversation: Conversation | None = None
        self._guests_left = threading.Event()

    def describe(self) -> dict[str, str]:
        """Addresses, who hosts and why, every timeout."""
        spot = self._spot
        port = str(spot.port) if spot.port else "(chosen by the kernel when it is bound)"
        return {
            "meets at": f"{spot.host}, port {port}",
            "hosted here": f"{spot.hosting} ({spot.why})",
            "listens on": "nothing" if spot.hosting == "no" else (spot.bind or "all addresses of this machine"),
            "agents prove that they know a token": "yes" if spot.token else "no (set PET_RDZV_TOKEN to ask for one)",
            "MASTER_ADDR": spot.master_addr or spot.host,
            "MASTER_PORT": port,
            "join_timeout": f"{spot.join_timeout:g} s",
            "last_call_timeout": f"{spot.limits.last_call:g} s",
            "close_timeout": f"{spot.close_timeout:g} s",
            "a sign of life every": f"{spot.interval:g} s",
            "a silent node is lost after": f"{spot.silence:g} s",
            "its workers are gone after": f"{spot.limits.fence:g} s more",
            "a lost host ends the job after": f"{spot.host_loss:g} s",
        }

    def start(self, tell: Callable[[News], None]) -> None:
        """Bind the port if this node hosts, and connect in the background. Raises PortInUse."""
        spot, taken = self._spot, None
        if spot.hosting in ("yes", "maybe"):
            try:
                self._host(tell)
            except PortInUse as error:
                if spot.hosting == "yes":
                    raise
                taken = error
        limits = spot.limits
        where = Where(
            spot.host,
            spot.port,
            spot.run_id,
            limits.low,
            limits.high,
            spot.join_timeout,
            spot.interval,
            spot.silence,
            spot.host_loss,
            spot.token,
        )
        self._conversation = Conversation(where, tell, lambda seconds: self._reach(seconds, tell), taken)

    def join(self, node: Node) -> None:
        """Ask for a place; the answer is Formed, Over or Trouble."""
        self._ask(lambda guest, now: guest.join(node, now))

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """Report a failure; the answer is Regroup or Over."""
        self._ask(lambda guest, now: guest.failed(round, reason, forgiven))

    def testify(self, round: int, testimony: Mapping[str, Any] | None, told: str) -> None:
        """Have the other nodes know what this one knows of a failure."""
        self._ask(lambda guest, now: guest.testify(round, testimony, told, now))

    def finished(self, round: int) -> None:
        """Report success; the answer is Over or Regroup."""
        self._ask(lambda guest, now: guest.finished(round))

    def leaving(self, reason: str) -> None:
        """Go away soon. When this node hosts, the others need not wait for that: they stop their workers at once."""
        if self._server is not None:
            self.abandon(reason)

    def leave(self, reason: str) -> None:
        """Go away. When this node hosts, the job cannot go on without it and is closed."""
        if self._server is not None:
            self.abandon(reason)
        else:
            self._ask(lambda guest, now: guest.leave(reason))

    def abandon(self, reason: str) -> None:
        """End the job as failed; the answer is Over."""
        self._ask(lambda guest, now: guest.end_job(reason))

    def requeue(self, reason: str) -> None:
        """End the job as preempted; the answer is Over."""
        self._ask(lambda guest, now: guest.end_job(reason, requeue=True))

    def close(self) -> None:
        """Release everything. The host stays until the others were told, at most close_timeout seconds."""
        if self._conversation is not None:
            self._conversation.close(self._spot.close_timeout)
            self._conversation = None
        if self._server is not None and self._coordinator is not None:
            try:
                if self._coordinator.members:
                    self._server.call(partial(self._coordinator.change, Close(HOST_ENDED)))
                    self._guests_left.wait(self._spot.close_timeout)
            finally:  # an interrupt: nobody wants to wait for the guests any more
                self._server.stop()
                self._server = None

    def _ask(self, order: Callable[[Guest, float], object]) -> None:
        if self._conversation is not None:
            self._conversation.ask(order)

    # --- called by the helper thread, once there is one ----------------------------------------------------

    def _reach(self, seconds: float, tell: Callable[[News], None]) -> tuple[socket.socket, str]:
        """A connection to the coordinator, and the address it was reached at. Raises OSError."""
        spot = self._spot
        if self._server is None and spot.hosting == "unknown" and local_address(spot.host):
            self._host_late(tell)
        if self._server is not None:
            ours, theirs = socket.socketpair()
            self._server.attach(theirs)
            return ours, ""
        # Of several addresses of a name, workers get the one that was reached.
        several = len({found[4][0] for found in lookup(spot.host)}) > 1
        sock = socket.create_connection((spot.host, spot.port), timeout=seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock, sock.getpeername()[0] if several else spot.host

    def _host_late(self, tell: Callable[[News], None]) -> None:
        """Host at a name that has come to be this machine's, unless another agent here does. Raises UsageError."""
        refuse_loopback(self._spot.host)
        try:
            self._host(tell)
        except PortInUse:
            self._spot = self._spot._replace(hosting="no")

    def _host(self, tell: Callable[[News], None]) -> None:
        """Begin to serve. Raises PortInUse."""
        spot = self._spot
        server = PortServer(listen(spot.bind, spot.port), [])
        terms = Terms(spot.run_id, spot.limits, spot.master_addr or "", spot.interval, spot.silence, spot.token)
        coordinator = Coordinator(server, self._store, terms, self._assign)
        coordinator.on_empty = self._guests_left.set
        coordinator.on_refused = lambda text: tell(Notice(text))
        server.replace(None, coordinator)
        server.start()
        self._server, self._coordinator = server, coordinator
