"""One connection to one member of etcd: counts what crosses it, and tells a passing failure from a lasting fault."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from contextlib import suppress
from typing import Any

from launcher_core.errors import RendezvousError
from launcher_plugins.etcd import faults
from launcher_plugins.etcd.faults import Identity, Member

JSON = "application/json"
PASSING = (2, 4, 8, 10, 13, 14)
"""gRPC codes of what may go by itself: unknown, deadline, exhausted, aborted, internal, unavailable."""


class Unreached(Exception):
    """A member did not answer, or only that it cannot just now. `sent`: the request may have been carried out."""

    def __init__(self, text: str, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Fault(Exception):
    """A member cannot be used as it was asked for; the text is a whole paragraph."""


class Refused(RendezvousError):
    """etcd answered no. `code` is gRPC's."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Traffic:
    """What has crossed the connections of one gateway, headers included, TLS not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.requests = 0
        self.sent = 0
        self.received = 0

    def add(self, sent: int = 0, received: int = 0, requests: int = 0) -> None:
        """Count some more."""
        with self._lock:
            self.sent += sent
            self.received += received
            self.requests += requests


class Wire:
    """A connection. Belongs to one thread; `cut` may be called by any."""

    def __init__(self, member: Member, context: ssl.SSLContext | None, traffic: Traffic) -> None:
        self.member = member
        self._context = context
        self._traffic = traffic
        self._http: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self.was_cut = False
        self.owner = threading.current_thread()

    @property
    def used(self) -> bool:
        """Whether it has been connected."""
        return self._http is not None

    def connect(self, timeout: float) -> str:
        """Connect; the address of this machine that it is from."""
        host, port = self.member.host, self.member.port
        if self.member.scheme == "https":
            self._http = http.client.HTTPSConnection(host, port, timeout=timeout, context=self._context)
        else:
            self._http = http.client.HTTPConnection(host, port, timeout=timeout)
        self._http.connect()
        self._socket = self._http.sock
        self._keep_alive(self._http.sock)
        if self.was_cut:
            self.close()
            raise ConnectionAbortedError("closed meanwhile")
        return str(self._http.sock.getsockname()[0])

    @staticmethod
    def _keep_alive(sock: socket.socket) -> None:
        """Have the system notice a peer that is gone without a word: a watch may be silent for hours."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 3), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str], timeout: float) -> None:
        """Send a request."""
        assert self._http is not None
        self._http.timeout = timeout
        if self._http.sock is not None:
            self._http.sock.settimeout(timeout)
        try:
            self._http.request(method, path, body, {"Content-Type": JSON, **headers})
        except OSError:
            self._read_alert()
            raise
        size = len(body) + sum(len(key) + len(value) + 4 for key, value in headers.items())
        self._traffic.add(sent=size + len(path) + len(self.member.host) + 100, requests=1)

    def _read_alert(self) -> None:
        """Raise the ssl.SSLError that says why the other end has closed, where it said so."""
        if isinstance(self._socket, ssl.SSLSocket):
            try:
                self._socket.recv(1)
            except ssl.SSLError:
                raise
            except (OSError, ValueError):
                pass

    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer."""
        assert self._http is not None
        response = self._http.getresponse()
        self._traffic.add(received=17 + sum(len(key) + len(value) + 4 for key, value in response.getheaders()))
        return response

    def unhurried(self) -> None:
        """Wait for ever in reads from now on; `cut` ends them."""
        if self._socket is not None:
            self._socket.settimeout(None)

    def cut(self) -> None:
        """Have whoever reads here find the end of it."""
        self.was_cut = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # past TLS, which the reader is in

    def close(self) -> None:
        """Forget the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None


def explain(error: Exception, wire: Wire, identity: Identity) -> str | None:
    """What is wrong for good when a member that was never reached behaves like this; None when it may pass."""
    member = wire.member
    if isinstance(error, ssl.SSLError):
        why = faults.of_tls(error, member, identity)
        return why or (faults.no_tls(member) if _speaks_plain(member) else None)
    if member.scheme == "http" and isinstance(error, (ConnectionResetError, http.client.HTTPException)):
        if _speaks_tls(member):
            return faults.speaks_tls(member)
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, http.client.RemoteDisconnected):
            return faults.no_web_server(str(error), member)
    return None


def _speaks_tls(member: Member) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((member.host, member.port), 1.0) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    except OSError:
        return False


def _speaks_plain(member: Member) -> bool:
    plain = http.client.HTTPConnection(member.host, member.port, timeout=1.0)
    try:
        plain.request("GET", "/version")
        return plain.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        plain.close()


def stranger(wire: Wire, status: int, kind: str, text: str, identity: Identity, timeout: float) -> str:
    """What is wrong with a member that answers as no gateway does."""
    member = wire.member
    if "HTTP request to an HTTPS server" in text:
        return faults.speaks_tls(member)
    why = faults.of_answer(0, text, member, identity)
    if why:
        return why
    wire.close()
    try:
        wire.connect(timeout)
        wire.send("GET", "/version", b"", {}, timeout)
        version = json.loads(wire.answer().read())["etcdserver"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return faults.not_etcd(member, status, kind)
    finally:
        wire.close()
    return faults.no_gateway(member, str(version))


def read(response: http.client.HTTPResponse, traffic: Traffic) -> tuple[dict[str, Any] | None, bytes]:
    """The object that the body is, None if it is something else; and the body."""
    data = response.read()
    traffic.add(received=len(data))
    try:
        value = json.loads(data)
    except ValueError:
        return None, data
    return (value if isinstance(value, dict) else None), data
