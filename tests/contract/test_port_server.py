"""PortServer and listen, over real sockets: one port shared, services replaced, alarms, a clean end."""

from __future__ import annotations

import os
import queue
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from launcher_core.errors import UsageError
from launcher_core.hooks.ports import Peer
from launcher_core.runtime.serving import MAX_QUEUED, PortInUse, PortServer, listen

SOON = 20.0
"""Seconds after which what has not happened will not."""


class Echo:
    """A service for connections that open with `mark`: sends back what it gets, and obeys a few words."""

    def __init__(self, mark: bytes) -> None:
        self.mark = mark
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.sessions: list[EchoSession] = []

    def claims(self, first: bytes) -> bool:
        assert 1 <= len(first) <= 8
        return first.startswith(self.mark)

    def open(self, peer: Peer) -> EchoSession:
        self.sessions.append(EchoSession(self, peer))
        return self.sessions[-1]


class EchoSession:
    def __init__(self, service: Echo, peer: Peer) -> None:
        self.service = service
        self.peer = peer

    def receive(self, data: bytes) -> None:
        if b"nonsense" in data:
            raise ValueError("nonsense")
        if b"defect" in data:
            raise KeyError("defect")
        self.peer.send(self.service.mark + b":" + data)
        if b"flood" in data:
            self.peer.send(bytes(8 * 1024 * 1024))
        if b"bye" in data:
            self.peer.close()
            self.peer.send(b"too late")

    def lost(self) -> None:
        self.service.told.put("lost")


class Running:
    """A server, and what it reported."""

    def __init__(self, *services: Echo) -> None:
        self.errors: queue.SimpleQueue[Exception] = queue.SimpleQueue()
        self.server = PortServer(listen("127.0.0.1", 0), services, self.errors.put)
        self.clients: list[socket.socket] = []

    def connect(self, first: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.port), SOON)
        self.clients.append(client)
        client.sendall(first)
        return client

    def do(self, function: Callable[[], Any]) -> Any:
        """Run it in the serving thread; what it returned."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        assert self.server.call(lambda: answers.put(function()))
        return answers.get(timeout=SOON)


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*services: Echo) -> Running:
        started.append(Running(*services))
        started[-1].server.start()
        return started[-1]

    yield start
    for each in started:
        each.server.stop(0.0)
        for client in each.clients:
            client.close()


def read(client: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size and (chunk := client.recv(min(size - len(data), 1 << 20))):
        data += chunk
    return bytes(data)


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


# --- sharing a port


def test_two_protocols_share_a_port_and_are_told_apart_by_their_first_bytes(running):
    here = running(Echo(b"A"), Echo(b"B"))

    a, b = here.connect(b"A1"), here.connect(b"B1")

    assert (read(a, 4), read(b, 4)) == (b"A:A1", b"B:B1")


def test_a_connection_that_nobody_claims_is_closed(running):
    here = running(Echo(b"A"))

    assert is_closed(here.connect(b"GET / HTTP/1.1\r\n"))
    assert here.errors.empty()


def test_a_connection_that_is_silent_at_first_costs_nobody_anything(running):
    here = running(Echo(b"A"))
    silent, other = here.connect(), here.connect(b"A1")
    assert read(other, 4) == b"A:A1"

    silent.sendall(b"A2")

    assert read(silent, 4) == b"A:A2"


def test_a_connection_that_stays_silent_is_closed_and_one_that_spoke_is_not(running, monkeypatch):
    monkeypatch.setattr("launcher_core.runtime.serving._SILENT_SECONDS", 0.05)
    here = running(Echo(b"A"))
    spoke = here.connect(b"A1")
    assert read(spoke, 4) == b"A:A1"

    assert is_closed(here.connect())
    spoke.sendall(b"A2")
    assert read(spoke, 4) == b"A:A2"
    assert here.errors.empty()


def test_nonsense_costs_its_sender_the_connection_and_is_not_reported(running):
    service = Echo(b"A")
    here = running(service)
    good, bad = here.connect(b"A1"), here.connect(b"A nonsense")

    assert is_closed(bad)
    assert service.told.get(timeout=SOON) == "lost"
    assert read(good, 4) == b"A:A1"
    assert here.errors.empty()


def test_a_defect_of_a_session_is_reported_and_costs_only_that_connection(running):
    here = running(Echo(b"A"))
    good, bad = here.connect(b"A1"), here.connect(b"A defect")

    assert is_closed(bad)
    assert repr(here.errors.get(timeout=SOON)) == "KeyError('defect')"
    assert read(good, 4) == b"A:A1"


def test_closing_sends_what_was_queued_and_nothing_after(running):
    service = Echo(b"A")
    here = running(service)
    client = here.connect(b"A flood, bye")

    received = read(client, 1 << 30)

    assert received == b"A:A flood, bye" + bytes(8 * 1024 * 1024)
    assert service.told.get(timeout=SOON) == "lost"
    assert here.do(service.told.empty)


def test_a_session_is_told_once_that_its_client_has_gone(running):
    service = Echo(b"A")
    here = running(service)

    here.connect(b"A1").close()

    assert service.told.get(timeout=SOON) == "lost"
    here.server.stop()
    assert service.told.empty()


def test_sending_to_a_client_that_has_gone_harms_nobody(running):
    service = Echo(b"A")
    here = running(service)
    gone, other = here.connect(b"A1"), here.connect(b"A2")
    assert (read(gone, 4), read(other, 4)) == (b"A:A1", b"A:A2")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close it with a reset

    def send_to_all() -> None:
        gone.close()
        for _ in range(3):
            for session in service.sessions:
                session.peer.send(b"x")

    here.do(send_to_all)

    assert read(other, 3) == b"xxx"
    assert service.told.get(timeout=SOON) == "lost"


def test_a_client_that_does_not_read_is_dropped_when_too_much_waits_for_it(running):
    service = Echo(b"A")
    here = running(service)
    slow, other = here.connect(b"A1"), here.connect(b"A2")
    assert (read(slow, 4), read(other, 4)) == (b"A:A1", b"A:A2")
    flood = bytes(1024 * 1024)

    def pour() -> None:
        for _ in range(MAX_QUEUED // len(flood) + 16):
            service.sessions[0].peer.send(flood)

    here.do(pour)

    assert service.told.get(timeout=SOON) == "lost"
    other.sendall(b"A3")
    assert read(other, 4) == b"A:A3"


def test_a_peer_knows_where_its_client_is(running):
    service = Echo(b"A")
    here = running(service)
    client = here.connect(b"A1")
    assert read(client, 4) == b"A:A1"

    assert service.sessions[0].peer.address == f"127.0.0.1:{client.getsockname()[1]}"


# --- replacing, attaching


def test_replacing_a_service_closes_its_connections_and_no_others(running):
    old, new, other = Echo(b"A"), Echo(b"A"), Echo(b"B")
    here = running(old, other)
    a, b, silent = here.connect(b"A1"), here.connect(b"B1"), here.connect()
    assert (read(a, 4), read(b, 4)) == (b"A:A1", b"B:B1")

    here.server.replace(old, new)

    assert old.told.get(timeout=SOON) == "lost"
    assert is_closed(a)
    for client, answer in ((b, b"B:B2"), (silent, b"A:A2"), (here.connect(), b"A:A2")):
        client.sendall(answer[2:])
        assert read(client, 4) == answer
    assert (len(old.sessions), len(new.sessions)) == (1, 2)


def test_the_serving_thread_itself_may_replace_and_nothing_old_adds(running):
    service = Echo(b"A")
    here = running()

    here.do(lambda: here.server.replace(None, service))

    assert read(here.connect(b"A1"), 4) == b"A:A1"


def test_a_service_can_be_added_before_the_start():
    server = PortServer(listen("127.0.0.1", 0), [])
    server.replace(None, Echo(b"A"))
    server.start()

    with socket.create_connection(("127.0.0.1", server.port), SOON) as client:
        client.sendall(b"A1")
        assert read(client, 4) == b"A:A1"
    server.stop()


def test_a_connected_socket_can_be_attached(running):
    here = running(Echo(b"A"))
    ours, theirs = socket.socketpair()
    here.clients.append(ours)
    ours.settimeout(SOON)

    here.server.attach(theirs)
    ours.sendall(b"A1")

    assert read(ours, 4) == b"A:A1"


def test_a_server_without_a_port_serves_what_is_attached():
    ours, theirs = socket.socketpair()
    server = PortServer([], [Echo(b"A")])
    server.attach(theirs)
    server.start()
    with ours:
        ours.settimeout(SOON)
        ours.sendall(b"A1")
        assert (read(ours, 4), server.port) == (b"A:A1", 0)
    server.stop()


# --- calls and alarms


def test_calls_run_in_the_serving_thread_in_order(running):
    here = running()
    ran: list[tuple[int, str]] = []

    for number in range(100):
        here.server.call(lambda number=number: ran.append((number, threading.current_thread().name)))
    here.do(int)

    assert ran == [(number, "port-server") for number in range(100)]


def test_alarms_go_off_in_the_order_of_their_times_unless_cancelled(running):
    here = running()
    rung: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()

    def arm() -> None:
        now = monotonic()
        for name, delay in (("third", 0.03), ("first", 0.0), ("never", 0.01), ("second", 0.02)):
            due = now + delay
            alarm = here.server.call_at(due, lambda name=name, due=due: rung.put((name, monotonic() >= due)))
            if name == "never":
                here.server.cancel(alarm)

    here.do(arm)

    assert [rung.get(timeout=SOON) for _ in range(3)] == [("first", True), ("second", True), ("third", True)]


def test_a_call_or_an_alarm_that_raises_is_reported_and_the_rest_goes_on(running):
    here = running(Echo(b"A"))
    here.server.call(lambda: 1 / 0)
    here.do(lambda: here.server.call_at(0.0, lambda: [][0]))

    assert [type(here.errors.get(timeout=SOON)) for _ in range(2)] == [ZeroDivisionError, IndexError]
    assert read(here.connect(b"A1"), 4) == b"A:A1"


def test_an_error_that_nobody_asked_for_is_printed(capsys):
    server = PortServer([], [])
    server.start()
    server.call(lambda: 1 / 0)
    server.stop()

    assert "ZeroDivisionError: division by zero" in capsys.readouterr().err


# --- the end


def census() -> tuple[dict[str, str], set[str]]:
    """The descriptors and the threads of this process."""
    descriptors = {}
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the one that the listing itself used
            descriptors[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return descriptors, {thread.name for thread in threading.enumerate()}


def test_nothing_is_left_when_the_server_has_stopped():
    before = census()
    server = PortServer(listen("localhost", 0), [Echo(b"A")])
    server.start()
    ours, theirs = socket.socketpair()
    server.attach(theirs)
    with ours, socket.create_connection(("localhost", server.port), SOON) as client:
        client.sendall(b"A1")
        assert read(client, 4) == b"A:A1"
        server.stop()
        server.stop()
        assert (is_closed(client), is_closed(ours)) == (True, True)

    assert census() == before
    assert server.call(int) is False


def test_a_server_that_never_started_can_be_stopped():
    before = census()
    ours, theirs = socket.socketpair()
    server = PortServer(listen("127.0.0.1", 0), [])
    server.attach(theirs)

    server.stop()
    server.stop()
    ours.close()

    assert census() == before


def test_stopping_sends_what_is_queued_to_those_who_read(running):
    here = running(Echo(b"A"))
    client = here.connect(b"A flood")
    assert read(client, 4) == b"A:A "
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(read(client, 1 << 30)))
    reader.start()

    here.server.stop(SOON)
    reader.join(SOON)

    assert received == [b"flood" + bytes(8 * 1024 * 1024)]


def test_stopping_waits_no_longer_than_told_for_those_who_do_not(running):
    here = running(Echo(b"A"))
    client = here.connect(b"A flood")
    assert read(client, 4) == b"A:A "
    begun = monotonic()

    here.server.stop(0.05)

    assert 0.05 <= monotonic() - begun < SOON / 2


def test_the_serving_thread_may_stop_itself(running):
    service = Echo(b"A")
    here = running(service)
    client = here.connect(b"A1")
    assert read(client, 4) == b"A:A1"

    here.server.call(here.server.stop)

    assert is_closed(client)
    assert service.told.get(timeout=SOON) == "lost"
    here.server.stop()


def test_what_is_asked_of_a_stopped_server_returns_at_once(running):
    here = running(Echo(b"A"))
    here.server.stop()
    ours, theirs = socket.socketpair()
    here.clients.append(ours)

    here.server.attach(theirs)
    here.server.replace(None, Echo(b"B"))

    assert is_closed(ours)


def test_when_descriptors_run_out_accepting_pauses_and_resumes(running):
    here = running(Echo(b"A"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.socket()
    here.clients.append(client)
    client.settimeout(SOON)
    fillers: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                fillers.append(os.dup(0))
        client.connect(("127.0.0.1", here.server.port))
        client.sendall(b"A1")
        assert isinstance(here.errors.get(timeout=SOON), OSError)
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert read(client, 4) == b"A:A1"
    assert here.errors.empty()


# --- listening


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
            return True
    except OSError:
        return False


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), SOON).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "by_ipv4", "by_ipv6"),
    [(None, True, True), ("127.0.0.1", True, False), ("::1", False, True), ("0.0.0.0", True, False)],
)
def test_a_host_decides_by_which_addresses_the_port_is_reached(host: str | None, by_ipv4: bool, by_ipv6: bool):
    sockets = listen(host, 0)
    port = sockets[0].getsockname()[1]
    try:
        assert (reaches("127.0.0.1", port), reaches("::1", port)) == (by_ipv4, by_ipv6)
    finally:
        for sock in sockets:
            sock.close()


def test_a_name_is_listened_on_at_every_address_it_has_with_one_port():
    sockets = listen("localhost", 0)
    bound = {sock.getsockname()[:2] for sock in sockets}
    inheritable = [sock.get_inheritable() for sock in sockets]
    for sock in sockets:
        sock.close()

    addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
    [port] = {port for _, port in bound}
    assert {address for address, _ in bound} <= addresses
    assert ("127.0.0.1", port) in bound
    assert not any(inheritable)


def test_a_port_that_was_given_back_can_be_taken_at_once():
    [first] = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port), SOON)
    accepted, _ = first.accept()
    for sock in (accepted, client, first):  # the side that closes first keeps the port in TIME_WAIT
        sock.close()

    [second] = listen("127.0.0.1", port)
    assert second.getsockname()[1] == port
    second.close()


HOLDER = "import socket; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True); input()"


def test_a_port_in_use_is_refused_with_the_name_of_who_holds_it():
    before = census()
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        for host in ("127.0.0.1", "localhost", None):
            with pytest.raises(PortInUse, match=rf"port {port} is in use by pid {holder.pid} \(.*python.*\)"):
                listen(host, port)
        holder.communicate("")

    assert census() == before


def test_a_host_that_is_not_this_machine_is_refused_by_name():
    with pytest.raises(UsageError, match=r"'192\.0\.2\.1'.*is not this machine"):
        listen("192.0.2.1", 0)


def test_a_host_that_nobody_knows_is_refused_by_name():
    with pytest.raises(UsageError, match=r"'no such host'"):
        listen("no such host", 0)
