"""What a mutated stream is sent to: sessions without sockets, for the mass, and a port with honest clients on it."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from random import Random
from time import thread_time

import mutation
from agents import Agent, Port

from launcher_core.errors import LauncherError
from launcher_core.hooks.ports import Service
from launcher_core.model.job import Node
from launcher_core.model.news import Formed, News, Over, Trouble
from launcher_core.rules.guest import Guest, Where
from launcher_core.rules.protocol import MAGIC, Frames, frame
from launcher_core.rules.round import Limits
from launcher_core.runtime.conversation import Conversation
from launcher_core.runtime.coordinator import AgentSession, Coordinator, Terms
from launcher_core.runtime.serving import PortServer, listen
from launcher_plugins.c10d_store.client import StoreClient
from launcher_plugins.c10d_store.service import StoreService

SOON = 60.0
"""Seconds after which what has not happened will not."""
CPU = 0.5
"""Seconds of processor time that no stream, some hundred kilobytes long at most, may cost."""
TOKEN = b"secret"
OFTEN = (0.0, 0.1, 0.6)
"""How many of a stream's frames are mutated: the later ones are only read when those before them were good."""
HELLO = frame("hello", run_id="job", nonce="n")

Stream = tuple[list[bytes], int]
"""Pieces, and of how many frames they were made."""


# --- streams ---------------------------------------------------------------------------------------------


def together(random: Random, opening: bytes, frames: list[bytes]) -> Stream:
    """The stream of these frames, some mutated, some in another order."""
    if random.random() < 0.3:
        random.shuffle(frames)
    if random.random() < 0.1:
        opening = random.randbytes(random.randrange(1, 12)) if random.random() < 0.5 else mutated(random, opening)
    often = random.choice(OFTEN)
    chosen = [mutated(random, each) if random.random() < often else each for each in frames]
    return mutation.pieces(random, opening + b"".join(chosen)), len(frames)


def mutated(random: Random, data: bytes) -> bytes:
    """The bytes, mutated if there are any."""
    return mutation.mutated(random, data) if data else data


def store_stream(random: Random) -> Stream:
    """What some client of the store sends."""
    count = random.randrange(1, mutation.STREAM)
    return together(random, mutation.store_opening(random), [mutation.store_request(random) for _ in range(count)])


def messages(random: Random, make: Callable[[Random], dict]) -> list[bytes]:
    """Frames of the agents' protocol, each good or with a field that is not."""
    often, bodies = random.choice(OFTEN), [make(random) for _ in range(random.randrange(1, mutation.STREAM))]
    return [
        mutation.spoilt(random, body)
        if random.random() < often
        else mutation.framed(mutation.written({key: mutation.json.dumps(item) for key, item in body.items()}).encode())
        for body in bodies
    ]


def stranger_stream(random: Random) -> Stream:
    """What an agent sends that does not know the token."""
    me = mutation.node(random)
    return together(random, MAGIC, messages(random, lambda random: mutation.from_agent(random, me, True)))


def member_stream(random: Random) -> Stream:
    """What an agent of the job sends that has gone mad, short of ending the job."""
    me = mutation.node(random)
    return together(random, MAGIC + HELLO, messages(random, lambda random: mutation.from_agent(random, me, False)))


def host_stream(random: Random) -> Stream:
    """What a host sends that has gone mad; half the time it knew how to begin."""
    start = mutation.framed(b'{"type":"challenge","nonce":"n","token":true}') + frame(
        "welcome", silence=9, interval=3, nonce="h", proof=mutation.host_proof()
    )
    return together(random, start if random.random() < 0.7 else b"", messages(random, mutation.from_host))


# --- without sockets -------------------------------------------------------------------------------------


class Sink:
    """A peer that keeps what it is sent."""

    address = "fuzz"
    torn = False
    closed = False

    def __init__(self) -> None:
        self.sent = bytearray()

    def send(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True


def feed(service: Service, pieces: list[bytes]) -> None:
    """One connection, as the port's thread serves it. Whatever is no ValueError comes out."""
    if not pieces or not service.claims(pieces[0][:8]):
        return
    peer, began = Sink(), thread_time()
    session = service.open(peer)
    try:
        for piece in pieces:
            session.receive(piece)
            if peer.closed:
                break
    except ValueError:
        pass
    session.lost()
    assert thread_time() - began < CPU


def feed_guest(pieces: list[bytes]) -> None:
    """One connection of an agent to a host. Whatever ends no launch with a reason comes out."""
    guest = Guest(Where("host", 1, "job", token=TOKEN))
    guest.join(Node("n", "n", 1), 0.0)
    guest.connected(0, "10.0.0.1")
    with suppress(ValueError, LauncherError):
        for piece in pieces:
            for news in guest.receive(piece, 0.0, "mine"):
                repr(news)


class Membership:
    """A coordinator without a port, and one honest agent that has the only seat."""

    def __init__(self, token: bytes = b"", high: int = 1) -> None:
        self.port = Port()
        terms = Terms("job", Limits(1, high, last_call=0.0), token=token)
        self.coordinator = Coordinator(self.port, None, terms, clock=lambda: self.port.now)
        self.honest = Agent(self.coordinator, os.urandom(8).hex(), welcome=False)
        nonce = self.honest.challenge["nonce"]
        shown = mutation.proof.of(TOKEN, "guest", "job", nonce, "n")
        self.honest.says("hello", run_id="job", nonce="n", **({"proof": shown} if token else {}))
        self.honest.joins()
        self.port.until(self.port.now)  # the last call, where there is one
        assert [one["type"] for one in self.honest.hears()] == ["welcome", "seat"]

    def check(self) -> None:
        """Everything is as it was for the honest agent, and nobody else is remembered."""
        self.honest.says("ok", n=5)
        assert self.honest.hears() == [{"type": "ok", "n": 5}]
        assert self.coordinator.members == len(self.coordinator._sessions) == 1
        assert len(self.coordinator._round.here) == 0
        assert len(self.port.alarms) == 2


class Crowd:
    """A coordinator that serves several of these streams at a time, so that rounds form, end and form again."""

    def __init__(self) -> None:
        self.job = Membership(high=3)
        self.job.honest.breaks()
        self.open: deque[AgentSession] = deque()
        self.peers: list[Sink] = []

    def take(self, pieces: list[bytes]) -> None:
        """One more stream; the oldest connection ends."""
        if len(self.open) == 5:
            self.open.popleft().lost()
        if not pieces or not self.job.coordinator.claims(pieces[0][:8]):
            return
        self.peers.append(Sink())
        session = self.job.coordinator.open(self.peers[-1])
        try:
            for piece in pieces:
                session.receive(piece)
        except ValueError:
            session.lost()
        else:
            self.open.append(session)
        self.job.port.until(self.job.port.now)  # the last call

    def check(self) -> None:
        """Every round that formed had each rank once at most, and nobody is remembered who has gone."""
        told = [message for peer in self.peers for message in Frames().feed(bytes(peer.sent))]
        seats = [(message["round"], message["group_rank"]) for message in told if message["type"] == "seat"]
        assert len(seats) == len(set(seats)) > 0
        while self.open:
            self.open.popleft().lost()
        assert self.job.coordinator.members == len(self.job.coordinator._round.here) == 0


# --- a port ----------------------------------------------------------------------------------------------


class Town:
    """A port with both protocols, an honest client of each, and whatever else connects."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.server = PortServer(listen("127.0.0.1", 0), [], self.errors.append)
        terms = Terms("job", Limits(1, 1), silence=SOON, interval=0.1, token=TOKEN)
        self.coordinator = Coordinator(self.server, None, terms)
        self.store = StoreService()
        self.server.replace(None, self.coordinator)
        self.server.replace(None, self.store)
        self.server.start()
        self.news: list[News] = []
        self.formed, self.over = threading.Event(), threading.Event()
        where = Where("127.0.0.1", self.server.port, "job", silence=SOON, host_loss=SOON, token=TOKEN)
        self.agent = Conversation(where, self._tell, self._reach)
        self.agent.ask(lambda guest, now: guest.join(Node("honest", "honest", 1), now))
        assert self.formed.wait(SOON), self.news
        self.pairs = 0
        self._using, self._done = threading.Event(), threading.Event()
        self._client = threading.Thread(target=self._use_the_store)
        self._client.start()
        assert self._using.wait(SOON)

    def _tell(self, news: News) -> None:
        self.news.append(news)
        if isinstance(news, Formed):
            self.formed.set()
        if isinstance(news, Over | Trouble):
            self.over.set()

    def _reach(self, seconds: float) -> tuple[socket.socket, str]:
        return socket.create_connection(("127.0.0.1", self.server.port), SOON), "127.0.0.1"

    def _use_the_store(self) -> None:
        with closing(StoreClient("127.0.0.1", self.server.port, SOON)) as client:
            while not self._done.is_set():
                client.set("honest", f"{self.pairs}")
                assert client.get("honest") == f"{self.pairs}".encode()
                self.pairs += 1
                self._using.set()

    def settle(self) -> None:
        """Return once everything that was sent so far has been served."""
        for _ in range(3):  # accepted, read, dropped
            done = threading.Event()
            self.server.call(done.set)
            assert done.wait(SOON)

    def connections(self) -> int:
        """How many there are."""
        self.settle()
        return len(self.server._connections)

    def end(self) -> list[News]:
        """Have the honest agent succeed; everything that it was told."""
        self.agent.ask(lambda guest, now: guest.finished(0))
        assert self.over.wait(SOON)
        self._done.set()
        self._client.join(SOON)
        self.agent.close(SOON)
        return self.news

    def stop(self) -> None:
        """Release everything."""
        self._done.set()
        self.server.stop(0.0)
        self._client.join(SOON)


@contextmanager
def town() -> Iterator[Town]:
    """One that is always taken down."""
    here = Town()
    try:
        yield here
    finally:
        here.stop()


def send(here: Town, random: Random, pieces: list[bytes]) -> None:
    """One connection to the port: by TCP or not, read or not, ended politely or not."""
    if random.random() < 0.3:
        sock = socket.create_connection(("127.0.0.1", here.server.port), SOON)
    else:
        sock, theirs = socket.socketpair()
        here.server.attach(theirs)
    with sock, suppress(OSError):  # it was closed on us, as it should be
        sock.settimeout(0.0 if random.random() < 0.5 else SOON)
        for piece in pieces:
            sock.sendall(piece)
        how = random.random()
        if how < 0.2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif how < 0.6:
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65_536):
                pass
