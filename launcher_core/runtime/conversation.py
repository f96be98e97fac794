"""An agent's end of its connection to the coordinator: one helper thread, bytes to news.

It refuses to decide: what it is told it passes on, what it cannot reach it names, with what was tried and what to do.
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
    LauncherError,
    RendezvousConnectionError,
    RendezvousTimeoutError,
    UsageError,
)
from launcher_core.model.job import Place
from launcher_core.model.news import Formed, News, Over, Regroup, Trouble, Waiting
from launcher_core.rules.protocol import MAGIC, Frames, frame

RETRY = 0.2
"""Seconds between two attempts to reach a host that is not there yet."""
CONNECTING_GRACE = 0.3
"""Seconds that `close` waits for a thread that is connecting."""
CONNECT_WITHIN = 5.0
"""Seconds for one attempt."""
ANSWER_WITHIN = 10.0
"""Seconds in which an agent on this machine answers; whoever holds the port and does not is none."""
WORD_EVERY = 10.0
"""Seconds between two lines about a host that cannot be reached."""


class Where(NamedTuple):
    """Whom to talk to and for how long; times in seconds."""

    host: str
    port: int
    run_id: str
    low: int
    high: int
    join_timeout: float
    silence: float
    """Without a word for so long a node counts as lost; three times as often one is sent."""
    taken: Exception | None = None
    """Why this node does not host, where it would have; the error if whoever has the port is no agent."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Conversation:
    """The thread. `tell` is called by it; the methods belong to the agent's thread."""

    def __init__(self, where: Where, tell: Callable[[News], None], connected: socket.socket | None) -> None:
        """`connected` is a socket whose other end the coordinator has already; without one, connects."""
        self._where = where
        self._tell = tell
        self._connected = connected
        self._outbox: deque[bytes | None] = deque()
        self._deadline: float | None = None
        self._welcomed = False
        self._last_word = "too few nodes came (--nnodes)"
        self._lock = threading.Lock()
        """Guards the pipe's descriptors."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        """Send a message, once there is a connection."""
        self._outbox.append(data)
        self._wake()

    def expect_round(self) -> None:
        """Have the wait for a round bounded, from now on, by the join timeout."""
        self._deadline = monotonic() + self._where.join_timeout

    def close(self, seconds: float) -> None:
        """Send what is queued and end the thread, in at most so long.

        One that is just looking up a name or connecting is not waited for: it ends by itself.
        """
        self._outbox.append(None)
        self._wake()
        self._thread.join(seconds if self._connected else min(seconds, CONNECTING_GRACE))

    def _wake(self) -> None:
        with self._lock:
            if self._wake_write >= 0:
                with suppress(BlockingIOError):  # the pipe is full of wake-ups already
                    os.write(self._wake_write, b"\0")

    def _close_pipe(self) -> None:
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    # --- the thread -------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._connected = self._connected or self._connect()
            if self._connected is not None:
                with self._connected:
                    self._converse(self._connected)
        except LauncherError as error:
            self._tell(Trouble(error))
        except (OSError, ValueError) as error:
            broke = RendezvousConnectionError(f"the connection to {self._where} broke: {error}")
            self._tell(Trouble(broke if self._welcomed else self._no_agent(str(error))))
        finally:
            self._close_pipe()

    def _connect(self) -> socket.socket | None:
        """A connection to the host, tried until the join timeout; None when the launch ended meanwhile."""
        where = self._where
        give_up = monotonic() + where.join_timeout
        next_word = monotonic() + WORD_EVERY
        while None not in self._outbox:
            try:
                sock = socket.create_connection((where.host, where.port), timeout=CONNECT_WITHIN)
            except OSError as error:
                tried = error
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(None)
                return sock
            now = monotonic()
            if now >= give_up:
                kind = UsageError if isinstance(tried, socket.gaierror) else RendezvousTimeoutError
                raise kind(self._unreachable(tried))
            if now >= next_word:
                next_word = now + WORD_EVERY
                self._tell(Waiting(0, where.low, where.high, self._unreachable(tried), give_up - now))
            self._sleep(RETRY)
        return None

    def _unreachable(self, tried: OSError) -> str:
        return (
            f"nobody answers at {self._where} ({type(tried).__name__}: {tried}); start the agent that hosts it there, "
            "or correct --rdzv-endpoint"
        )

    def _no_agent(self, detail: str) -> Exception:
        """The error about a peer that never said it is an agent: on this machine, who holds the port."""
        return self._where.taken or RendezvousConnectionError(
            f"what listens at {self._where} does not answer as an agent does ({detail}); end it, or correct "
            "--rdzv-endpoint"
        )

    def _converse(self, sock: socket.socket) -> None:
        sock.sendall(MAGIC + frame("hello", run_id=self._where.run_id))
        self._poll.register(sock, select.POLLIN)
        frames, next_alive = Frames(), monotonic() + self._where.silence / 3
        answer_by = monotonic() + ANSWER_WITHIN
        while True:
            while self._outbox:
                data = self._outbox.popleft()
                if data is None:
                    return
                sock.sendall(data)
            now = monotonic()
            if now >= next_alive:
                sock.sendall(frame("alive"))
                next_alive = now + self._where.silence / 3
            self._check_time(now, answer_by)
            wait = min(next_alive, self._deadline or next_alive) - monotonic()
            if self._sleep(max(0.0, wait), sock.fileno()) and not self._hear(sock, frames):
                return

    def _sleep(self, seconds: float, fd: int = -1) -> bool:
        """Wait for a wake-up, for `fd`, or for the time to pass; whether `fd` is readable."""
        ready = {number for number, _ in self._poll.poll(seconds * 1000)}
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        return fd in ready

    def _check_time(self, now: float, answer_by: float) -> None:
        if self._where.taken is not None and not self._welcomed and now >= answer_by:
            raise self._where.taken
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        allowed = f"{self._where.join_timeout:g} s"
        if not self._welcomed:
            raise self._no_agent(f"nothing in {allowed}")
        raise RendezvousTimeoutError(f"no round formed within {allowed} (--rdzv-conf join_timeout): {self._last_word}")

    def _hear(self, sock: socket.socket, frames: Frames) -> bool:
        """Take what the coordinator sent; whether there will be more."""
        data = sock.recv(65536)
        if data:
            return all(self._take(message) for message in frames.feed(data))
        if not self._welcomed:
            raise self._no_agent("the connection was closed")
        raise RendezvousConnectionError(
            f"the node that hosts the job at {self._where} is gone: its agent died, was killed, or lost this node"
        )

    def _take(self, message: dict[str, Any]) -> bool:
        """Pass one message on; whether more will come after it."""
        kind = message.pop("type")
        if kind == "welcome":
            self._welcomed = True
        elif kind == "refused":
            raise UsageError(f"{self._where} refused this agent: {message['reason']}")
        elif kind == "seat":
            self._deadline = None
            self._tell(Formed(Place(**message)))
        elif kind == "dismiss":
            self._tell(Regroup(**message))
        elif kind == "park":
            self._deadline = None
            high = self._where.high
            self._tell(Waiting(high, self._where.low, high, "the job is full; this node is a spare"))
        elif kind == "waiting":
            self._last_word = message["detail"]
            self._tell(Waiting(**message))
        elif kind == "end":
            self._tell(Over(**message))
        return bool(kind != "end")
