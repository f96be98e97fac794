"""One port, one thread, one loop: the protocols of a job share it, told apart by their first bytes.

Knows no protocol: see Service, Session and Peer in hooks/ports.py. What a connection does wrong costs that
connection, and nobody else anything.
"""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from launcher_core.hooks.ports import ATTACHED, Service, Session
from launcher_core.runtime.alarms import Alarm, Alarms
from launcher_core.runtime.listening import PortInUse, listen
from launcher_core.runtime.readiness import IN, OUT, Readiness

__all__ = ["MAX_QUEUED", "Alarm", "PortInUse", "PortServer", "listen"]

MAX_QUEUED = 64 * 1024 * 1024
"""Bytes that may wait for a client that does not read; one for whom more pile up is dropped."""

_LINGER_SECONDS = 10.0
"""How long a connection that is to be closed may take to read what is queued."""
_SILENT_SECONDS = 10.0
"""How long a connection may stay open before its first byte."""
_CHUNK = 16 * 1024
"""What is read at a time: much more than most say at once, and little enough to be had anew for each read."""
_DRAINED_CHUNKS = 64
_ACCEPTED_AT_ONCE = 1024
"""About as many as there are events at once: newcomers get their turn though thousands talk already."""
_PAUSE_SECONDS = 1.0
"""How long nothing is accepted once descriptors have run out."""
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class PortServer:
    """Serves every connection to the given listening sockets, which are its own from now on."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        services: Sequence[Service],
        on_error: Callable[[Exception], object] | None = None,
    ) -> None:
        """`on_error` is told, by the serving thread, what a session or a call raised; None has it printed."""
        self._listeners = list(sockets)
        self._listening = False
        self._port = int(sockets[0].getsockname()[1]) if sockets else 0
        self._services = list(services)
        self._on_error = on_error or _print_error
        self._readiness = Readiness()
        self._connections: set[_Connection] = set()
        self._doomed: list[_Connection] = []
        self._alarms = Alarms()
        self._lock = threading.Lock()
        """Guards _calls and _ended; everything else belongs to the serving thread."""
        self._calls: list[Callable[[], object]] = []
        self._ended = False
        self._stopping = False
        self._awake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="port-server", daemon=True)

    @property
    def port(self) -> int:
        """The port that all listening sockets share; 0 when there are none."""
        return self._port

    def start(self) -> None:
        """Serve from now on, in a thread of its own."""
        self._readiness.watch(self._awake.fileno(), IN, self._run_calls)
        self._listen()
        self._thread.start()

    def replace(self, old: Service | None, new: Service) -> None:
        """Give new connections to `new`, and close those of `old`; with None, serve `new` too.

        Any thread; returns once that is done.
        """
        if self._is_ours():
            self._swap(old, new)
            return
        done = threading.Event()
        self.call(lambda: self._swap(old, new))
        if self.call(done.set):
            done.wait()

    def attach(self, sock: socket.socket) -> None:
        """Serve a socket that is connected already, and is the server's from now on. Any thread."""
        if not self.call(lambda: self._adopt(sock, ATTACHED)):
            sock.close()

    def call(self, function: Callable[[], object]) -> bool:
        """Have the serving thread run this soon. Any thread. False, and it never runs, once all has ended."""
        with self._lock:
            if self._ended:
                return False
            self._calls.append(function)
            if len(self._calls) == 1:
                self._waker.send(b"\0")
        return True

    def call_at(self, when: float, function: Callable[[], object]) -> Alarm:
        """Have this run at a monotonic time, in seconds. From the serving thread, or before `start`."""
        return self._alarms.add(when, function)

    def cancel(self, alarm: Alarm) -> None:
        """Keep the alarm from going off; nothing if it has. From the serving thread, or before `start`."""
        self._alarms.cancel(alarm)

    def stop(self, flush_seconds: float = 1.0) -> None:
        """Accept no more, send what is queued for at most so long, close everything, end the thread.

        Any thread; when the serving thread itself calls this, it returns at once. May be called again.
        """
        if self._thread.ident is None:
            self._end()
            return
        self.call(lambda: self._begin_stop(monotonic() + flush_seconds))
        if not self._is_ours():
            self._thread.join()

    def _is_ours(self) -> bool:
        """Whether the caller may touch what belongs to the serving thread: is it, or it has not started."""
        return self._thread.ident in (None, threading.get_ident())

    # --- the serving thread

    def _serve(self) -> None:
        wait, calls, alarms, heap = self._readiness.wait, self._readiness.calls, self._alarms, self._alarms.heap
        now = monotonic()
        while not (self._stopping and not self._connections):
            for fd, events in wait(alarms.seconds_left(now) if heap else None):
                if fd in calls:
                    calls[fd](events)
            if heap:
                now = self._ring_alarms()
            if self._doomed:
                self._drop_doomed()
        self._end()

    def _ring_alarms(self) -> float:
        """Have all go off whose time has come; the time after that."""
        now = monotonic()
        if self._alarms.heap[0][0] > now:
            return now
        for function in self._alarms.due(now):
            self._guard(function)
        return monotonic()

    def _drop_doomed(self) -> None:
        while self._doomed:
            self._doomed.pop().drop()

    def _run_calls(self, events: int) -> None:
        self._awake.recv(64)
        for function in self._take_calls():
            self._guard(function)

    def _take_calls(self) -> list[Callable[[], object]]:
        with self._lock:
            calls, self._calls = self._calls, []
        return calls

    def _guard(self, function: Callable[[], object]) -> None:
        try:
            function()
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        with suppress(Exception):  # there is nobody left to tell, and the others are to be served
            self._on_error(error)

    def _listen(self) -> None:
        if not self._listening and not self._stopping:
            self._listening = True
            for listener in self._listeners:
                listener.setblocking(False)
                self._readiness.watch(listener.fileno(), IN, partial(self._accept, listener))

    def _listen_no_more(self) -> None:
        if self._listening:
            self._listening = False
            for listener in self._listeners:
                self._readiness.forget(listener.fileno())

    def _accept(self, listener: socket.socket, events: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                sock, address = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:  # the listener stays readable: without a pause, for ever
                    self._report(error)
                    self._listen_no_more()
                    self.call_at(monotonic() + _PAUSE_SECONDS, self._listen)
                return
            self._adopt(sock, _spelled(address[0], address[1]))

    def _adopt(self, sock: socket.socket, address: str) -> None:
        sock.setblocking(False)
        with suppress(OSError):  # not a TCP socket; or it was reset already, as reading will show
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(self, sock, address)
        self._connections.add(connection)
        self._readiness.watch(sock.fileno(), IN, connection.ready)

    def _swap(self, old: Service | None, new: Service) -> None:
        if old is None:
            self._services.append(new)
            return
        self._services = [new if service is old else service for service in self._services]
        for connection in [each for each in self._connections if each.service is old]:
            connection.drop()

    def _begin_stop(self, deadline: float) -> None:
        self._stopping = True
        self._listen_no_more()
        for connection in self._connections:
            connection.close()
        self.call_at(deadline, self._drop_all)

    def _drop_all(self) -> None:
        for connection in list(self._connections):
            connection.drop()

    def _end(self) -> None:
        with self._lock:
            self._ended = True
        for function in self._take_calls():  # somebody may be waiting for what they do
            self._guard(function)
        self._drop_all()
        self._readiness.close()
        for sock in (*self._listeners, self._awake, self._waker):
            sock.close()


class _Connection:
    """One client, and the Peer of its session."""

    __slots__ = (
        "_closed",
        "_closing",
        "_queued",
        "_server",
        "_session",
        "_sock",
        "_unheard",
        "address",
        "service",
        "torn",
    )

    def __init__(self, server: PortServer, sock: socket.socket, address: str) -> None:
        self.address = address
        self.torn = False
        self.service: Service | None = None
        self._server = server
        self._sock = sock
        self._session: Session | None = None
        self._queued = bytearray()
        self._closing = False
        """Nothing more is taken in or queued."""
        self._closed = False
        self._unheard = server.call_at(monotonic() + _SILENT_SECONDS, self.drop)

    def send(self, data: bytes) -> None:
        """Queue bytes for the client; never blocks, and calls no session."""
        if self._closing:
            return
        sent = 0
        if not self._queued:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._tear(error)
                self._doom()
                return
            if sent == len(data):
                return
            self._server._readiness.change(self._sock.fileno(), IN | OUT)
        if len(self._queued) + len(data) - sent > MAX_QUEUED:
            self._doom()
        else:
            self._queued += memoryview(data)[sent:]

    def close(self) -> None:
        """Drop the connection once what was queued is sent."""
        if self._closing:
            return
        if self._queued:
            self._closing = True
            self._server._readiness.change(self._sock.fileno(), OUT)
            self._server.call_at(monotonic() + _LINGER_SECONDS, self.drop)
        else:
            self._doom()

    def ready(self, events: int) -> None:
        """Write what is queued, and have the session take what has come, as far as the socket is ready."""
        if self._queued and not self._closed:
            self._flush()
        if self._closing or not events & ~OUT:
            return
        try:
            data = self._sock.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._tear(error)
            data = b""
        if not data:
            self.drop()
            return
        try:
            session = self._session or self._open(data[:8])
            session.receive(data)
        except ValueError:
            self.drop()
        except Exception as error:
            error.add_note(f"while {self.address} was served; its connection is closed")
            self._server._report(error)
            self.drop()

    def drop(self) -> None:
        """Close the connection now, and tell the session."""
        if self._closed:
            return
        self._closing = self._closed = True
        self._server._connections.discard(self)
        self._server._readiness.forget(self._sock.fileno())
        self._server.cancel(self._unheard)
        with suppress(OSError):  # input left unread would have the system discard what was sent last
            for _ in range(_DRAINED_CHUNKS):
                if not self._sock.recv(_CHUNK):
                    break
        self._sock.close()
        if self._session is not None:
            self._server._guard(self._session.lost)

    def _open(self, first: bytes) -> Session:
        """Begin a session of the first service that claims the connection; ValueError when none does."""
        self._server.cancel(self._unheard)
        for service in self._server._services:
            if service.claims(first):
                self.service = service
                self._session = service.open(self)
                return self._session
        raise ValueError(f"{first!r} opens no protocol that is served here")

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._queued)
        except BlockingIOError:
            return
        except OSError as error:
            self._tear(error)
            self.drop()
            return
        del self._queued[:sent]
        if not self._queued:
            if self._closing:
                self.drop()
            else:
                self._server._readiness.change(self._sock.fileno(), IN)

    def _tear(self, error: OSError) -> None:
        self.torn = not isinstance(error, BrokenPipeError)  # which is what follows from an end that was not read yet

    def _doom(self) -> None:
        """Have it dropped soon, not now: a session may be at work, and would be told in the midst of it."""
        self._closing = True
        self._server._doomed.append(self)


def _spelled(host: str, port: int) -> str:
    host = host.removeprefix("::ffff:")  # how a socket for both families shows IPv4
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _print_error(error: Exception) -> None:
    sys.excepthook(type(error), error, error.__traceback__)
