"""Many agents in one process, on real connections: a Guest for each, one loop for all. And the server they meet at.

An agent here is what a node says and hears; it starts no workers. It joins as soon as it may, and again as soon as it
is told that a round has ended. Signs of life are sent as by any agent, and counted apart.
"""

from __future__ import annotations

import heapq
import os
import resource
import select
import socket
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from launcher_core.model.job import Node, Place
from launcher_core.model.news import Cut, Formed, News, Over, Regroup
from launcher_core.rules.guest import Guest, Stage, Where
from launcher_core.rules.protocol import MAGIC
from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinator import Coordinator, Terms
from launcher_core.runtime.serving import PortServer, listen
from launcher_plugins.c10d_store import C10dStore

HOST = "127.0.0.1"
RUN_ID = "many-agents"
PERIODIC = (b'{"type":"ok"', b'{"type":"waiting"')
"""How messages begin that come with time, not with a round."""


class Usage(NamedTuple):
    """What the server has used: CPU seconds, and megabytes of memory at most and now."""

    cpu: float
    peak: float
    now: float


class Report(NamedTuple):
    """How one process's agents came to their seats in one round. Times are monotonic seconds."""

    round: int
    began: float
    """When the first of them connected, or reported a failure; infinity when none of them did."""
    last_join: float
    last_seat: float
    ranks: list[int]
    messages: list[int]
    """For each agent, both directions."""
    bytes: list[int]
    signs: int
    """Bytes that came or went with time, all agents, since the last report."""
    cpu: float
    """Seconds that this process has used so far."""


def settle() -> None:
    """A session of its own, as for a daemon: the kernel shares CPUs among sessions. And all descriptors it may have."""
    os.setsid()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def serve(pipe: Connection, nodes: int, silence: float) -> None:
    """Host a job of so many nodes: says the port, answers everything with a Usage, ends with None."""
    settle()
    server = PortServer(listen(HOST, 0), [])
    limits = Limits(nodes, nodes, max_restarts=1 << 20, fence=silence / 3)
    terms = Terms(RUN_ID, limits, silence=silence)
    server.replace(None, Coordinator(server, C10dStore(), terms))
    server.start()
    pipe.send(server.port)
    while pipe.recv() is not None:
        pipe.send(Usage(time.process_time(), _megabytes("VmHWM:"), _megabytes("VmRSS:")))
    server.stop()


def _megabytes(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def take_part(pipe: Connection, port: int, first: int, count: int, nodes: int) -> None:
    """Be the agents from number `first` on; see Fleet.obey for what may be asked, Report for what is answered."""
    settle()
    Fleet(pipe, Where(HOST, port, RUN_ID, nodes, nodes), range(first, first + count)).run()


class Meter:
    """Messages and bytes of one direction of one connection."""

    __slots__ = ("_rest", "bytes", "messages", "signs")

    def __init__(self) -> None:
        self.reset()
        self._rest = b""

    def reset(self) -> None:
        """Begin anew."""
        self.messages = self.bytes = self.signs = 0

    def feed(self, data: bytes) -> None:
        """Count what went by; frames may be in pieces."""
        data = self._rest + data
        begin, end = 0, 0
        while len(data) >= begin + 4 and len(data) >= (end := begin + 4 + int.from_bytes(data[begin : begin + 4])):
            if data.startswith(PERIODIC, begin + 4):
                self.signs += end - begin
            else:
                self.messages += 1
                self.bytes += end - begin
            begin = end
        self._rest = data[begin:]


class Agent:
    """One agent and its connection."""

    def __init__(self, number: int, where: Where) -> None:
        self.guest = Guest(where)
        self.node = Node(f"{os.getpid()}-{number}", f"node-{number}", 1, pid=os.getpid())
        self.sent, self.received = Meter(), Meter()
        self.place: Place | None = None
        self.joined = 0.0
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def connected(self) -> None:
        """Greet the host."""
        if error := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
        self.guest.connected(time.monotonic(), HOST)
        self.guest.outbox.clear()
        self.sock.sendall(MAGIC)
        self.sent.bytes += len(MAGIC)

    def flush(self) -> None:
        """Send what is to be sent; no agent says as much as a socket takes."""
        outbox = self.guest.outbox
        if outbox:
            self.sock.sendall(outbox)
            self.sent.feed(bytes(outbox))
            outbox.clear()

    def read(self) -> list[News]:
        """What the host has said."""
        data = self.sock.recv(65536)
        if not data:
            raise SystemExit(f"the host closed the connection of {self.node.name}")
        self.received.feed(data)
        return self.guest.receive(data, time.monotonic(), os.urandom(8).hex())


class Fleet:
    """All agents of this process."""

    def __init__(self, pipe: Connection, where: Where, numbers: range) -> None:
        self._pipe = pipe
        self._agents = [Agent(number, where) for number in numbers]
        self._by_fd = {agent.sock.fileno(): agent for agent in self._agents}
        self._epoll = select.epoll()
        self._epoll.register(pipe.fileno(), select.EPOLLIN)
        self._alarms: list[tuple[float, int]] = []
        self._seated = 0
        self._began = float("inf")

    def run(self) -> None:
        """Do what is asked, until None is."""
        while True:
            wait = self._alarms[0][0] - time.monotonic() if self._alarms else -1
            for fd, events in self._epoll.poll(max(0.0, wait) if self._alarms else None):
                if fd == self._pipe.fileno():
                    order = self._pipe.recv()
                    if order is None:
                        return
                    self.obey(order)
                else:
                    self._ready(self._by_fd[fd], events)
            self._tick()
            if self._seated == len(self._agents):
                self._seated = 0
                self._report()

    def obey(self, order: str) -> None:
        """join: all connect and join; fail: one of them reports a failure; signs: report what they cost since."""
        now = time.monotonic()
        if order == "join":
            self._began = now
            for agent in self._agents:
                agent.guest.join(agent.node, now)
                agent.sock.connect_ex((HOST, agent.guest.where.port))
                self._epoll.register(agent.sock.fileno(), select.EPOLLOUT)
        elif order == "fail":
            self._began = now
            agent = self._agents[-1]
            assert agent.place is not None
            agent.guest.failed(agent.place.round, "rank 0 (local rank 0, pid 1) exited with code 1")
            agent.flush()
        else:
            self._report()

    def _ready(self, agent: Agent, events: int) -> None:
        if agent.guest.stage is Stage.APART:
            agent.connected()
            self._epoll.modify(agent.sock.fileno(), select.EPOLLIN)
            return
        greeting = agent.guest.stage is Stage.GREETING
        self._hear(agent, agent.read())
        agent.flush()
        if greeting and agent.guest.stage is Stage.HEARD:
            agent.joined = time.monotonic()
            heapq.heappush(self._alarms, (agent.guest.alarm, agent.sock.fileno()))

    def _hear(self, agent: Agent, news: list[News]) -> None:
        for one in news:
            now = time.monotonic()
            if isinstance(one, Formed):
                agent.place = one.place
                self._seated += 1
                self._last_seat = now
            elif isinstance(one, Regroup):
                agent.guest.join(agent.node, now)
                agent.joined = now
            elif isinstance(one, Cut | Over):
                raise SystemExit(f"{agent.node.name}: {one.reason}")

    def _tick(self) -> None:
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            fd = self._alarms[0][1]
            agent = self._by_fd[fd]
            self._hear(agent, agent.guest.tick(now))
            agent.flush()
            heapq.heapreplace(self._alarms, (agent.guest.alarm, fd))

    def _report(self) -> None:
        agents = self._agents
        places = [agent.place for agent in agents if agent.place is not None]
        report = Report(
            places[-1].round if len({place.round for place in places}) == 1 else -1,
            self._began,
            max(agent.joined for agent in agents),
            self._last_seat,
            [place.group_rank for place in places],
            [agent.sent.messages + agent.received.messages for agent in agents],
            [agent.sent.bytes + agent.received.bytes for agent in agents],
            sum(agent.sent.signs + agent.received.signs for agent in agents),
            time.process_time(),
        )
        self._began = float("inf")
        for agent in agents:
            agent.sent.reset()
            agent.received.reset()
        self._pipe.send(report)
