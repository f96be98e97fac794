"""A client of etcd's v3 API, over the JSON gateway that every member serves: standard library only, any thread.

A request goes to one member; when that fails, to the one whose last failure is longest ago. What was sent and not
answered may have been carried out: it is only repeated where that does no harm, else `Unknown` says so.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from launcher_core.errors import RendezvousConnectionError, RendezvousTimeoutError, UsageError
from launcher_plugins.etcd import faults
from launcher_plugins.etcd.faults import Identity, Member
from launcher_plugins.etcd.wire import PASSING, Fault, Refused, Traffic, Unreached, Wire, explain, read, stranger

PAUSE = 0.5
"""Seconds, the longest between two rounds through all members."""


class Unknown(RendezvousConnectionError):
    """A request that must not be repeated was sent and not answered: it may have been carried out, or may yet be."""


class Access(NamedTuple):
    """Where etcd is, and how it is spoken to; times in seconds."""

    members: tuple[Member, ...]
    identity: Identity = Identity()
    context: ssl.SSLContext | None = None
    request_timeout: float = 1.5
    """For one member to answer."""
    call_timeout: float = 3.0
    """For any to."""
    connect_timeout: float = 30.0
    """For any to, before one ever has."""


def text(data: bytes) -> str:
    """Bytes as the gateway has them."""
    return base64.b64encode(data).decode()


def octets(value: str | None) -> bytes:
    """The bytes that the gateway's text means."""
    return base64.b64decode(value or "")


class Gateway:
    """Requests and streams; each thread has a connection of its own."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.traffic = Traffic()
        self.address = ""
        """This machine's address, on the way to etcd; empty before there was a connection."""
        self.on_failure: Callable[[Member], None] = lambda member: None
        """Told, by any thread, of each member that has just failed."""
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._failed = [0.0] * len(access.members)
        self._at = 0
        self._met = False
        self._token = ""
        self._own = threading.local()
        self._wires: set[Wire] = set()

    def call(self, path: str, body: dict[str, Any], *, once: bool = False, urgent: bool = False) -> dict[str, Any]:
        """The answer to a request. One that is `urgent` waits half as long for a member while there are others left.

        Raises RendezvousConnectionError when no member answers in time (Unknown, where it may be carried out `once`
        at most and was sent); before any ever did a RendezvousTimeoutError, and UsageError for what no waiting
        mends; Refused for an answer that is the caller's business.
        """
        end = monotonic() + (self.access.call_timeout if self._met else self.access.connect_timeout)
        tried: dict[Member, str] = {}
        asked: list[Member] = []
        fault = ""
        pause, failures = 0.02, 0
        while True:
            member = self._choose(asked)
            asked.append(member)
            hurry = urgent and failures < len(self.access.members)
            by = min(end, monotonic() + self.access.request_timeout / 2) if hurry else end
            try:
                return self._ask(member, path, body, by)
            except Fault as error:
                fault = tried[member] = str(error)
            except Unreached as error:
                tried[member] = str(error)
                if once and error.sent:
                    self._fail(member)
                    raise Unknown(f"etcd at {member} did not say whether it wrote: {error}") from error
            self._fail(member)
            failures += 1
            if fault and len(tried) == len(self.access.members):
                raise UsageError(fault)
            if failures % len(self.access.members) == 0:
                asked.clear()
                self._closing.wait(min(pause, max(0.0, end - monotonic())))
                pause = min(pause * 2, PAUSE)
            if monotonic() >= end or self._closing.is_set():
                raise self._given_up(tried)

    def stream(self, path: str, body: bytes) -> Iterator[dict[str, Any]]:
        """What a member sends until it stops, one object at a time; the first may take as long as a call.

        `cut` of the wire of this thread ends it. Raises RendezvousConnectionError as `call` does when it cannot begin.
        """
        member = self._choose()
        wire = self._wire(member)
        try:
            if not wire.used:
                self.address = wire.connect(self.access.request_timeout)
            wire.send("POST", path, body, self._headers(member), self.access.request_timeout)
            response = wire.answer()
            if response.status != http.client.OK:
                found, data = read(response, self.traffic)
                self._answer(wire, response, found, data)
            wire.unhurried()
            while line := response.readline():
                self.traffic.add(received=len(line))
                if line.strip():
                    yield json.loads(line)
        except (Unreached, Fault, Refused, OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if not wire.was_cut:  # AttributeError: http.client's, when a connection ends in the middle of a chunk
                self._fail(member)
            raise RendezvousConnectionError(f"etcd at {member}: {_said(error)}") from error
        finally:
            self._drop(wire)

    def member_of(self, thread: threading.Thread) -> Member | None:
        """Which member a thread has a connection to; None for none."""
        with self._lock:
            return next((wire.member for wire in self._wires if wire.owner is thread), None)

    def cut(self, thread: threading.Thread) -> None:
        """End what a thread is reading."""
        with self._lock:
            wires = [wire for wire in self._wires if wire.owner is thread]
        for wire in wires:
            wire.cut()

    def leave(self) -> None:
        """Ask another member next than the one that this thread has a connection to, and log in anew."""
        self._token = ""
        self._fail(self._own.wire.member)

    @property
    def closing(self) -> bool:
        """Whether it is being closed."""
        return self._closing.is_set()

    def stop(self) -> None:
        """Have every other thread's request fail now, and every later one be tried once."""
        self._closing.set()
        me = threading.current_thread()
        with self._lock:
            wires = [wire for wire in self._wires if wire.owner is not me]
        for wire in wires:
            wire.cut()

    def close(self) -> None:
        """End all connections."""
        self.stop()
        with self._lock:
            wires, self._wires = self._wires, set()
        for wire in wires:
            wire.close()

    # --- one member ---------------------------------------------------------------------------------------

    def _choose(self, asked: Sequence[Member] = ()) -> Member:
        """The member that all threads ask now; when this one has asked it already, one that it has not."""
        members = self.access.members
        with self._lock:
            left = [index for index, member in enumerate(members) if member not in asked]
            return members[self._at if self._at in left else min(left, key=self._failed.__getitem__)]

    def _fail(self, member: Member) -> None:
        """Ask another next, the one that has not failed for longest."""
        with self._lock:
            index = self.access.members.index(member)
            self._failed[index] = monotonic()
            if self._at == index:
                self._at = min(range(len(self._failed)), key=self._failed.__getitem__)
        self.on_failure(member)

    def _ask(self, member: Member, path: str, body: dict[str, Any], end: float) -> dict[str, Any]:
        """One member's answer. Raises Unreached, Fault, Refused or UsageError."""
        used = self._wire(member).used
        for again in (used, False):  # a connection that was idle may have been closed meanwhile
            try:
                return self._exchange(self._wire(member), path, body, end)
            except Unreached as error:
                if not again or not isinstance(error.__cause__, (ConnectionError, http.client.RemoteDisconnected)):
                    raise
                if error.sent and path.endswith("/txn"):
                    raise
        raise AssertionError("the loop returns or raises")

    def _exchange(self, wire: Wire, path: str, body: dict[str, Any], end: float) -> dict[str, Any]:
        timeout = max(0.05, min(self.access.request_timeout, end - monotonic()))
        sent = False
        try:
            if not wire.used:
                self.address = wire.connect(timeout)
            headers = self._headers(wire.member) if path != "/v3/auth/authenticate" else {}
            wire.send("POST", path, json.dumps(body).encode(), headers, timeout)
            sent = True
            response = wire.answer()
            found, data = read(response, self.traffic)
            return self._answer(wire, response, found, data)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._drop(wire)
            if isinstance(error, UsageError):
                raise
            why = None if self._met else explain(error, wire, self.access.identity)
            if why:
                raise Fault(why) from error
            raise Unreached(_said(error), sent) from error

    def _answer(
        self, wire: Wire, response: http.client.HTTPResponse, found: dict[str, Any] | None, data: bytes
    ) -> dict[str, Any]:
        """The answer, where it is one. Raises as `_ask` does."""
        member, identity = wire.member, self.access.identity
        if response.status == http.client.OK and found is not None:
            self._met = True
            return found
        if found is None or "code" not in found:
            shown, status = " ".join(data.decode(errors="replace").split()), response.status
            if self._met or (status >= http.client.INTERNAL_SERVER_ERROR and status != http.client.NOT_IMPLEMENTED):
                self._drop(wire)  # a proxy says so, of a server behind it
                raise Unreached(f"HTTP {status}: {shown[:80]}", True)
            kind = response.getheader("Content-Type", "")
            raise Fault(stranger(wire, status, kind, shown, identity, self.access.request_timeout))
        said, code = str(found.get("message") or found.get("error")), int(found["code"])
        if "invalid auth token" in said or "revision of auth store is old" in said:
            self._token = ""
            raise Unreached(said, False)
        why = faults.of_answer(code, said, member, identity)
        if why:
            raise UsageError(why)
        if code in PASSING:
            raise Unreached(said, True)
        raise Refused(f"etcd at {member} refuses: {said}", code)

    def _headers(self, member: Member) -> dict[str, str]:
        """What goes along with a request: who asks, and that a member without a leader shall say so."""
        headers = {"Grpc-Metadata-hasleader": "true"}
        identity = self.access.identity
        if not identity.user:
            return headers
        if not self._token:
            login = {"name": identity.user, "password": identity.password}
            wire = Wire(member, self.access.context, self.traffic)
            try:
                end = monotonic() + self.access.request_timeout
                self._token = str(self._exchange(wire, "/v3/auth/authenticate", login, end)["token"])
            finally:
                wire.close()
        return {**headers, "Authorization": self._token}

    def _wire(self, member: Member) -> Wire:
        """This thread's connection, if it is to that member; else a new one."""
        wire: Wire | None = getattr(self._own, "wire", None)
        if wire is not None and wire.member == member:
            return wire
        if wire is not None:
            self._drop(wire)
        wire = self._own.wire = Wire(member, self.access.context, self.traffic)
        with self._lock:
            self._wires.add(wire)
        return wire

    def _drop(self, wire: Wire) -> None:
        wire.close()
        with self._lock:
            self._wires.discard(wire)
        if getattr(self._own, "wire", None) is wire:
            self._own.wire = None

    def _given_up(self, tried: dict[Member, str]) -> RendezvousConnectionError | RendezvousTimeoutError:
        each = "; ".join(f"{member}: {why}" for member, why in tried.items())
        if self._met:
            return RendezvousConnectionError(f"no etcd answered within {self.access.call_timeout:g} s ({each})")
        return RendezvousTimeoutError(
            f"no etcd answered within {self.access.connect_timeout:g} s ({each}); start it, correct --rdzv-endpoint, "
            "or wait longer with connect_timeout in --rdzv-conf"
        )


def _said(error: Exception) -> str:
    """The error in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected):
        return "closed the connection"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
