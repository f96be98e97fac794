"""A port for one Service, so that a store can be tested without the launcher's runtime. Small, and in no hurry."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import Any

CHUNK = 65536
SHORTEST = 8
"""As many bytes as `claims` is asked about at most."""


class Connection:
    """One client: the Peer that its session is given, and what is queued for it."""

    def __init__(self, sock: socket.socket, address: str) -> None:
        self.sock = sock
        self.address = address
        self.torn = False
        self.session: Any = None
        self.begun = b""
        self._queued = bytearray()
        self._closing = False

    def send(self, data: bytes) -> None:
        """Queue bytes for the client."""
        self._queued += data

    def close(self) -> None:
        """Drop the connection once what was queued is sent."""
        self._closing = True

    def flush(self) -> bool:
        """Send what can be sent; whether the connection stays."""
        while self._queued:
            try:
                del self._queued[: self.sock.send(self._queued[:CHUNK])]
            except BlockingIOError:
                return True
            except OSError:
                return False
        return not self._closing

    @property
    def pending(self) -> bool:
        """Whether something is queued."""
        return bool(self._queued)


class ServicePort:
    """Serves one service at a port of the loopback address, in a thread of its own.

    `errors` has what sessions raised other than ValueError; `unclaimed` the beginnings of connections that the
    service did not want; `piecemeal`, set by a test, has sessions get their bytes one at a time.
    """

    def __init__(self, service: Any) -> None:
        self.service = service
        self.errors: list[BaseException] = []
        self.unclaimed: list[bytes] = []
        self.piecemeal = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._awake, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self._thread = threading.Thread(target=self._serve, name="kit-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._waker.send(b"\0")
        self._thread.join(10.0)

    def _serve(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._awake, selectors.EVENT_READ)
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._awake:
                    self._end()
                    return
                if key.data is None:
                    self._accept()
                elif key.data in self._connections:
                    self._read(key.data)
            for one in list(self._connections):
                self._settle(one)

    def _accept(self) -> None:
        sock, address = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = Connection(sock, address[0])
        self._connections.add(one)
        self._selector.register(sock, selectors.EVENT_READ, one)

    def _read(self, one: Connection) -> None:
        try:
            data = one.sock.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        try:
            if not data or not self._deliver(one, data):
                self._drop(one)
        except ValueError:
            one.flush()
            self._drop(one)
        except BaseException as error:
            self.errors.append(error)
            self._drop(one)

    def _deliver(self, one: Connection, data: bytes) -> bool:
        """Whether the service wants the connection."""
        if one.session is None:
            if not self.service.claims(data[:SHORTEST]):
                self.unclaimed.append(data[:SHORTEST])
                return False
            one.session = self.service.open(one)
        for piece in [data[at : at + 1] for at in range(len(data))] if self.piecemeal else [data]:
            one.session.receive(piece)
        return True

    def _settle(self, one: Connection) -> None:
        """Send what is queued, now or once that is possible; drop the connection that is over."""
        if not one.flush():
            self._drop(one)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if one.pending else 0)
        self._selector.modify(one.sock, wanted, one)

    def _drop(self, one: Connection) -> None:
        if one not in self._connections:
            return
        self._connections.remove(one)
        self._selector.unregister(one.sock)
        one.sock.close()
        if one.session is not None:
            try:
                one.session.lost()
            except BaseException as error:
                self.errors.append(error)

    def _end(self) -> None:
        for one in list(self._connections):
            self._drop(one)
        self._selector.close()
        for sock in (self._listener, self._awake, self._waker):
            with suppress(OSError):
                sock.close()
