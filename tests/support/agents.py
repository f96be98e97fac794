"""What a coordinator is tested with: a port without sockets whose time is set by hand, and agents as transcripts."""

from __future__ import annotations

from collections.abc import Callable

from launcher_core.model.job import Node
from launcher_core.rules import proof
from launcher_core.rules.protocol import MAGIC, Frames, frame
from launcher_core.runtime.coordinator import Coordinator


class Port:
    """Stands in for the PortServer: its time moves when it is told to."""

    port = 29400

    def __init__(self) -> None:
        self.now = 100.0
        self.alarms: list[tuple[float, Callable[[], object]]] = []
        self.served: list[tuple[object, object]] = []

    def call(self, function):
        function()
        return True

    def call_at(self, when, function):
        self.alarms.append((when, function))
        return self.alarms[-1]

    def cancel(self, alarm):
        if alarm in self.alarms:
            self.alarms.remove(alarm)

    def replace(self, old, new):
        self.served.append((old, new))

    def until(self, when: float) -> None:
        """Let time pass, and every alarm go off in its turn."""
        while self.alarms and min(self.alarms, key=lambda one: one[0])[0] <= when:
            alarm = min(self.alarms, key=lambda one: one[0])
            self.alarms.remove(alarm)
            self.now = max(self.now, alarm[0])
            alarm[1]()
        self.now = when


class Agent:
    """A peer, and what its agent says and hears."""

    address = "here"
    torn = False

    def __init__(self, coordinator: Coordinator, name: str = "a", welcome: bool = True) -> None:
        self.node = Node(name, f"host-{name}", 1)
        self.frames = Frames()
        self.inbox = bytearray()
        self.closed = False
        self.session = coordinator.open(self)
        self.session.receive(MAGIC)
        self.challenge = self.hears()[0]
        if welcome:
            self.says("hello", run_id="job", nonce="")
            assert [one["type"] for one in self.hears()] == ["welcome"]

    def send(self, data: bytes) -> None:
        self.inbox += data

    def close(self) -> None:
        self.closed = True

    def says(self, type: str, **fields) -> None:
        self.session.receive(frame(type, **fields))
        if self.closed:
            self.breaks()

    def breaks(self, *, torn: bool = False) -> None:
        self.closed, self.torn = True, torn
        self.session.lost()

    def joins(self, past=None, **other) -> None:
        self.says("join", node={**self.node._asdict(), **other}, past=past)

    def hears(self) -> list[dict]:
        data, self.inbox = bytes(self.inbox), bytearray()
        return self.frames.feed(data)

    def seat(self) -> tuple[int, int, int]:
        """(round, rank, restarts) of the one message that came, a seat."""
        (told,) = self.hears()
        assert told["type"] == "seat"
        return told["round"], told["group_rank"], told["restarts"]


class Shop:
    """A store plugin whose services are numbers."""

    def __init__(self) -> None:
        self.made = 0

    def serve(self):
        self.made += 1
        return self.made


def pair(coordinator: Coordinator) -> list[Agent]:
    """Two agents in round 0."""
    agents = [Agent(coordinator, name) for name in "ab"]
    for agent in agents:
        agent.joins()
    for agent in agents:
        agent.hears()
    return agents


def shown(nonce: str, token: bytes = b"secret", run_id: str = "job", side: str = "guest") -> dict:
    """What an agent says that knows the token, to whoever asked with this nonce."""
    return {"run_id": "job", "nonce": "mine", "proof": proof.of(token, side, run_id, nonce, "mine")}
