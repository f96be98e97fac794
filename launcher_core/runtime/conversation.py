"""The thread that carries an agent's conversation with the coordinator: sockets and clock around rules/guest.py.

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

from launcher_core.errors import EndpointError, LauncherError, RendezvousConnectionError, RendezvousTimeoutError
from launcher_core.model.news import Formed, News, Notice, Trouble, Waiting
from launcher_core.rules.guest import GIVES_UP, Guest, Stage, Where
from launcher_core.runtime.alarms import LONGEST_SLEEP

RETRY = 0.2
"""Seconds between two attempts to reach a host that is not there yet."""
CONNECTING_GRACE = 0.3
"""Seconds that `close` waits for a thread that is connecting."""
CONNECT_WITHIN = 5.0
"""Seconds for one attempt."""
RECONNECT_WITHIN = 1.0
"""Seconds for one attempt to reach a host that was there."""
WORD_EVERY = 10.0
"""Seconds between two lines about a host that cannot be reached."""

Attempt = Callable[[float], tuple[socket.socket, str]]
"""Connects within so many seconds: the socket, and the address that was reached, "" for one inside this process.

Raises OSError.
"""


class Conversation:
    """The thread. `tell` is called by it; the methods belong to the agent's thread."""

    def __init__(
        self, where: Where, tell: Callable[[News], None], attempt: Attempt, taken: Exception | None = None
    ) -> None:
        """`taken`: why this node does not host, where it would have; the error if whoever has the port is no agent."""
        self._where = where
        self._tell = tell
        self._attempt = attempt
        self._taken = taken
        self._guest = Guest(where)
        self._orders: deque[Callable[[float], object] | None] = deque()
        self._give_up = monotonic() + where.join_timeout
        """Until when a host that never answered is tried."""
        self._connected = False
        self._closing = False
        self._tried: dict[str, bool] = {}
        """Addresses that the host gave for the workers, and whether they answer."""
        self._lock = threading.Lock()
        """Guards the pipe's descriptors."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_read, select.POLLIN)
        self._thread = threading.Thread(target=self._run, name="rendezvous", daemon=True)
        self._thread.start()

    def ask(self, order: Callable[[Guest, float], object]) -> None:
        """Have the thread do this with the guest, at the time it gives."""
        self._orders.append(lambda now: order(self._guest, now))
        self._wake()

    def close(self, seconds: float) -> None:
        """Send what is queued and end the thread, in at most so long.

        One that is just looking up a name or connecting is not waited for: it ends by itself.
        """
        self._orders.append(None)
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
            while (sock := self._connect()) is not None:
                self._connected = True
                with sock:
                    self._converse(sock)
                self._connected = False
        except LauncherError as error:
            self._tell(Trouble(self._why(error)))
        except Exception as error:  # a stranger may send anything, and a launch that hears nothing waits for ever
            why = str(error) if isinstance(error, OSError | ValueError) else repr(error)
            broke = RendezvousConnectionError(f"the connection to {self._where} broke: {why}")
            self._tell(Trouble(broke if self._guest.known else self._no_agent(why)))
        finally:
            self._close_pipe()

    def _why(self, error: LauncherError) -> Exception:
        """The error; about a peer on this machine that never said it is an agent: who holds the port."""
        unknown = self._taken is not None and not self._guest.known and isinstance(error, RendezvousConnectionError)
        return self._taken if unknown and self._taken is not None else error

    def _no_agent(self, detail: str) -> Exception:
        return self._taken or RendezvousConnectionError(self._guest.no_agent(detail))

    def _connect(self) -> socket.socket | None:
        """A connection to the host, tried as long as the guest has patience; None when there is nothing to say."""
        next_word = monotonic() + WORD_EVERY
        while self._obey() and self._guest.stage is not Stage.ENDED:
            known = self._guest.known
            try:
                sock, address = self._attempt(RECONNECT_WITHIN if known else CONNECT_WITHIN)
            except OSError as error:
                tried = error
            else:
                self._guest.connected(monotonic(), address, inside=not address)
                return sock
            now = monotonic()
            self._pass_on(self._guest.tick(now)) if known else self._check_patience(now, tried)
            if now >= next_word and not known:
                next_word = now + WORD_EVERY
                low, high = self._where.low, self._where.high
                self._tell(Waiting(0, low, high, self._unreachable(tried), self._give_up - now, GIVES_UP))
            self._sleep(RETRY)
        return None

    def _check_patience(self, now: float, tried: OSError) -> None:
        if now >= self._give_up:
            kind = EndpointError if isinstance(tried, socket.gaierror) else RendezvousTimeoutError
            raise kind(self._unreachable(tried))

    def _unreachable(self, tried: OSError) -> str:
        return (
            f"nobody answers at {self._where} ({type(tried).__name__}: {tried}); start the agent that hosts it there, "
            "or correct --rdzv-endpoint"
        )

    def _obey(self) -> bool:
        """Do what was asked for; False once that was to end."""
        while self._orders and not self._closing:
            order = self._orders.popleft()
            if order is None:
                self._closing = True
            else:
                order(monotonic())
        return not self._closing

    def _converse(self, sock: socket.socket) -> None:
        """Talk until the conversation is over, or the connection is; the guest knows which."""
        guest = self._guest
        sock.setblocking(False)
        self._poll.register(sock, select.POLLIN)
        try:
            going = True
            while going or guest.outbox:
                going = going and self._obey()
                if not going and guest.stage is not Stage.HEARD:
                    return
                news = guest.tick(monotonic())
                if guest.stage is Stage.APART and not guest.known and self._taken is not None:
                    raise self._taken  # an agent on this machine would have answered
                self._pass_on(news)
                if guest.stage in (Stage.APART, Stage.ENDED):
                    return
                self._flush(sock)
                if going or guest.outbox:
                    self._listen(sock, guest.alarm)
        except (BrokenPipeError, ConnectionError, TimeoutError) as error:
            self._pass_on(guest.broke(error.strerror or str(error), monotonic()))
        finally:
            self._poll.unregister(sock)
        if guest.stage is Stage.HEARD:
            guest.stage = Stage.ENDED

    def _flush(self, sock: socket.socket) -> None:
        outbox = self._guest.outbox
        while outbox:
            try:
                sent = sock.send(outbox)
            except BlockingIOError:
                break
            del outbox[:sent]
        self._poll.modify(sock, select.POLLIN | (select.POLLOUT if outbox else 0))

    def _listen(self, sock: socket.socket, until: float) -> None:
        """Wait for the coordinator, an order, or the time; pass on what has come."""
        if not self._sleep(max(0.0, until - monotonic()), sock.fileno()):
            return
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        now = monotonic()
        if data:
            self._pass_on(self._guest.receive(data, now, os.urandom(8).hex()))
        else:
            self._pass_on(self._guest.broke("it closed the connection", now))

    def _sleep(self, seconds: float, fd: int = -1) -> bool:
        """Wait for a wake-up, for `fd`, or for the time to pass; whether `fd` is ready."""
        ready = {number for number, _ in self._poll.poll(min(seconds, LONGEST_SLEEP) * 1000)}
        if self._wake_read in ready:
            os.read(self._wake_read, 4096)
        return fd in ready

    def _pass_on(self, news: list[News]) -> None:
        for one in news:
            self._tell(self._reachable(one) if isinstance(one, Formed) else one)

    def _reachable(self, news: Formed) -> Formed:
        """The place with an address for its workers that this node has connected to: the host's own word is tried."""
        place, ours = news.place, self._guest.address
        if place.master_addr not in (ours, *self._tried):
            self._tried[place.master_addr] = _answers(place.master_addr, place.master_port)
            if not self._tried[place.master_addr]:
                text = f"{place.master_addr}, which the host gives (--local-addr), does not answer here"
                self._tell(Notice(f"{text}; this node's workers get {ours}"))
        good = self._tried.get(place.master_addr, True)
        return news if good else Formed(place._replace(master_addr=ours))


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=RECONNECT_WITHIN).close()
    except OSError:
        return False
    return True
