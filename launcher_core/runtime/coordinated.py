"""A rendezvous run by a coordinator: this node's end of it, and, on one node, the coordinator itself.

A plugin says where the job meets and whether this node hosts it; everything else is here.  One helper thread
holds the connection and turns what the coordinator pushes into news for the agent.
"""

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from launcher_core.errors import (
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
    UsageError,
)
from launcher_core.hooks.ports import Store
from launcher_core.model.job import Node, Place
from launcher_core.model.news import Formed, News, Over, Regroup, Trouble, Waiting
from launcher_core.rules.protocol import MAGIC, Frames, frame
from launcher_core.rules.round import Assign, Limits
from launcher_core.runtime.coordinator import Coordinator, Terms
from launcher_core.runtime.serving import PortInUse, PortServer, listen

RETRY = 0.2
"""Seconds between two attempts to reach a host that is not there yet."""
ANSWER_WITHIN = 10.0
"""Seconds in which an agent on this machine answers; whoever holds the port and does not is none."""


class Spot(NamedTuple):
    """Where a job meets, as a plugin decided it. Times in seconds."""

    host: str
    port: int
    hosting: str
    """"yes", "no", or "maybe": host if the port is free, else be a guest of whoever has it."""
    why: str
    """Why this node hosts or not, for people."""
    bind: str | None
    """The address to listen on; None for all."""
    run_id: str
    limits: Limits
    join_timeout: float = 600.0
    close_timeout: float = 30.0
    silence: float = 15.0
    master_addr: str | None = None


class CoordinatedMeeting:
    """A Meeting. Its methods belong to the agent's thread; news come from the helper thread."""

    def __init__(self, spot: Spot, store: Store | None, assign: Assign | None = None) -> None:
        self._spot = spot
        self._store = store
        self._assign = assign
        self._server: PortServer | None = None
        self._coordinator: Coordinator | None = None
        self._port_error: PortInUse | None = None
        self._connected: socket.socket | None = None
        self._outbox: deque[bytes | None] = deque()
        self._wake_read = self._wake_write = -1
        self._thread: threading.Thread | None = None
        self._tell: Callable[[News], None] = lambda news: None
        self._deadline: float | None = None
        self._left = threading.Event()

    def describe(self) -> dict[str, str]:
        """Addresses, who hosts and why, every timeout."""
        spot = self._spot
        port = str(spot.port) if spot.port else "(chosen by the kernel when it is bound)"
        return {
            "meets at": f"{spot.host}, port {port}",
            "hosted here": f"{spot.hosting} ({spot.why})",
            "listens on": "nothing" if spot.hosting == "no" else (spot.bind or "all addresses of this machine"),
            "MASTER_ADDR": spot.master_addr or spot.host,
            "MASTER_PORT": port,
            "join_timeout": f"{spot.join_timeout:g} s",
            "last_call_timeout": f"{spot.limits.last_call:g} s",
            "close_timeout": f"{spot.close_timeout:g} s",
            "a silent node is lost after": f"{spot.silence:g} s",
        }

    def start(self, tell: Callable[[News], None]) -> None:
        """Bind the port if this node hosts, and connect in the background. Raises PortInUse."""
        self._tell = tell
        if self._spot.hosting != "no":
            self._host()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)
        self._thread.start()

    def join(self, node: Node) -> None:
        """Ask for a place; the answer is Formed, Over or Trouble."""
        self._deadline = monotonic() + self._spot.join_timeout
        self._send(frame("join", node=node._asdict()))

    def failed(self, round: int, reason: str) -> None:
        """Report a failure; the answer is Regroup or Over."""
        self._send(frame("failed", round=round, reason=reason[:2000]))

    def finished(self, round: int) -> None:
        """Report success; the answer is Over or Regroup."""
        self._send(frame("finished", round=round))

    def leave(self, reason: str) -> None:
        """Go away. When this node hosts, the job cannot go on without it and is closed."""
        kind = "leave" if self._server is None else "close"
        self._send(frame(kind, reason=reason[:2000]))

    def abandon(self, reason: str) -> None:
        """End the job as failed; the answer is Over."""
        self._send(frame("close", reason=reason[:2000]))

    def close(self) -> None:
        """Release everything. The host stays until the others were told, at most close_timeout seconds."""
        if self._thread is None:
            return
        self._outbox.append(None)
        self._wake()
        self._thread.join(self._spot.close_timeout)
        self._thread = None
        if self._server is not None:
            self._wait_for_guests()
            self._server.stop()
            self._server = None
        os.close(self._wake_read)
        os.close(self._wake_write)

    # --- hosting ----------------------------------------------------------------------------------------

    def _host(self) -> None:
        spot = self._spot
        try:
            sockets = listen(spot.bind, spot.port)
        except PortInUse as error:
            if spot.hosting == "yes":
                raise
            self._port_error = error
            return
        server = PortServer(sockets, [])
        terms = Terms(spot.run_id, spot.limits, spot.master_addr or spot.host, spot.silence)
        coordinator = Coordinator(server, self._store, terms, self._assign)
        coordinator.on_empty = lambda: self._left.set() if coordinator.members == 0 else None
        server.replace(None, coordinator)
        server.start()
        ours, theirs = socket.socketpair()
        server.attach(theirs)
        self._server, self._coordinator, self._connected = server, coordinator, ours

    def _wait_for_guests(self) -> None:
        if self._coordinator is not None and self._coordinator.members:
            self._left.wait(self._spot.close_timeout)

    # --- the helper thread ------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        self._outbox.append(data)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        try:
            sock = self._connected or self._connect()
            if sock is not None:
                with sock:
                    self._converse(sock)
        except (RendezvousError, UsageError) as error:
            self._tell(Trouble(error))
        except (OSError, ValueError) as error:
            where = f"{self._spot.host}:{self._spot.port}"
            broke = RendezvousConnectionError(f"the connection to {where} broke: {error}")
            self._tell(Trouble(broke if self._welcomed else self._no_agent(str(error))))

    def _no_agent(self, detail: str) -> Exception:
        """The error about a peer that never said it is an agent: on this machine, who holds the port."""
        where = f"{self._spot.host}:{self._spot.port}"
        return self._port_error or RendezvousConnectionError(
            f"what listens at {where} does not answer as an agent does ({detail}); end it, or correct --rdzv-endpoint"
        )

    def _connect(self) -> socket.socket | None:
        """A connection to the host, tried until join_timeout; None when the launch ended meanwhile."""
        spot, tried = self._spot, ""
        give_up = monotonic() + spot.join_timeout
        next_word = monotonic() + 10
        while True:
            try:
                sock = socket.create_connection((spot.host, spot.port), timeout=5)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(None)
                self._wake()  # for what was asked meanwhile
                return sock
            except OSError as error:
                tried, unknown = f"{type(error).__name__}: {error}", isinstance(error, socket.gaierror)
            now = monotonic()
            if now >= give_up:
                raise (UsageError if unknown else RendezvousTimeoutError)(self._unreachable(tried))
            if now >= next_word:
                next_word = now + 10
                self._tell(Waiting(0, spot.limits.low, spot.limits.high, self._unreachable(tried), give_up - now))
            if select.select([self._wake_read], [], [], RETRY)[0]:
                os.read(self._wake_read, 4096)
            if None in self._outbox:
                return None

    def _unreachable(self, tried: str) -> str:
        spot = self._spot
        return (
            f"nobody answers at {spot.host}:{spot.port} ({tried}); start the agent that hosts it there, or correct "
            "--rdzv-endpoint"
        )

    def _converse(self, sock: socket.socket) -> None:
        sock.sendall(MAGIC + frame("hello", run_id=self._spot.run_id))
        frames, alive_every, next_alive = Frames(), self._spot.silence / 3, monotonic()
        answer_by = next_alive + ANSWER_WITHIN
        while True:
            now = monotonic()
            if now >= next_alive:
                sock.sendall(frame("alive"))
                next_alive = now + alive_every
            self._check_deadline(now)
            if self._port_error is not None and not self._welcomed and now >= answer_by:
                raise self._port_error
            wait = min(next_alive, self._deadline or next_alive) - now
            ready, _, _ = select.select([sock.fileno(), self._wake_read], [], [], max(0.0, wait))
            if self._wake_read in ready:
                os.read(self._wake_read, 4096)
            if sock.fileno() in ready and not self._hear(sock, frames):
                return
            while self._outbox:
                data = self._outbox.popleft()
                if data is None:
                    return
                sock.sendall(data)

    def _check_deadline(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            if not self._welcomed:
                raise self._no_agent(f"nothing in {self._spot.join_timeout:g} s")
            raise RendezvousTimeoutError(
                f"no round formed within {self._spot.join_timeout:g} s (--rdzv-conf join_timeout): "
                f"{self._last_word}"
            )

    _last_word = "too few nodes came (--nnodes)"

    def _hear(self, sock: socket.socket, frames: Frames) -> bool:
        """Take what the coordinator sent; whether there will be more."""
        data = sock.recv(65536)
        if not data:
            if not self._welcomed:
                raise self._no_agent("the connection was closed")
            raise RendezvousConnectionError(
                f"the node that hosts the job at {self._spot.host}:{self._spot.port} is gone: its agent died, was "
                "killed, or lost this node"
            )
        return all(self._take(message) for message in frames.feed(data))

    _welcomed = False

    def _take(self, message: dict[str, Any]) -> bool:
        kind = message["type"]
        if kind == "welcome":
            self._welcomed = True
        elif kind == "refused":
            raise UsageError(f"{self._spot.host}:{self._spot.port} refused this agent: {message['reason']}")
        elif kind == "seat":
            self._deadline = None
            fields = {key: value for key, value in message.items() if key != "type"}
            self._tell(Formed(Place(**fields)))
        elif kind == "dismiss":
            self._tell(Regroup(**{key: value for key, value in message.items() if key != "type"}))
        elif kind == "park":
            self._deadline = None
            high = self._spot.limits.high
            self._tell(Waiting(high, self._spot.limits.low, high, "the job is full; this node is a spare"))
        elif kind == "waiting":
            self._last_word = message["detail"]
            counts = (message["have"], message["low"], message["high"])
            self._tell(Waiting(*counts, message["detail"], message["left"]))
        elif kind == "end":
            self._tell(Over(message["succeeded"], message["reason"]))
            return False
        return True
