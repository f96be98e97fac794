"""A host for a Guest to talk to: says what the test has it say, when the test has it say it."""

from __future__ import annotations

from launcher_core.model.job import Node
from launcher_core.rules import proof
from launcher_core.rules.guest import Guest, Where
from launcher_core.rules.protocol import MAGIC, Frames, frame

WHERE = Where("host", 29400, "job", low=2, high=4, join_timeout=60.0)
NODE = Node("n1", "node-1", 2)
SEAT = {
    "round": 3,
    "group_rank": 1,
    "group_world_size": 2,
    "base_rank": 2,
    "world_size": 4,
    "base_role_rank": 2,
    "role_world_size": 4,
    "master_addr": "",
    "master_port": 29400,
    "restarts": 1,
}
DISMISS = {"round": 3, "reason": "node-2 is gone", "restart": False, "restarts": 1, "max_restarts": 3}


class Host:
    """The other end: says what the test has it say, and reads what the guest sends."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.frames = Frames()

    def says(self, now: float, type: str, **fields):
        return self.guest.receive(frame(type, **fields), now, "mine")

    def hears(self) -> list[dict]:
        """What the guest has sent since, the opening left out."""
        data = bytes(self.guest.outbox)
        self.guest.outbox.clear()
        if data.startswith(MAGIC):
            data, self.frames = data[len(MAGIC) :], Frames()
        return self.frames.feed(data)

    def greets(self, now: float) -> None:
        """A new connection as far as the guest's hello."""
        self.guest.connected(now, "10.0.0.1")
        self.says(now, "challenge", nonce="yours", token=bool(self.guest.where.token))

    def welcomes(self, now: float, silence: float = 1.5, interval: float = 0.5):
        return self.says(now, "welcome", silence=silence, interval=interval, nonce="", proof="")


def heard(now: float = 0.0, where: Where = WHERE, node: Node | None = NODE) -> Host:
    """A conversation that was welcomed at `now`, with what was said until then read."""
    host = Host(Guest(where))
    if node is not None:
        host.guest.join(node, now)
    host.greets(now)
    host.welcomes(now)
    host.hears()
    return host


def seated(now: float = 0.0) -> Host:
    host = heard(now)
    host.says(now, "seat", **SEAT)
    return host


SECRET = WHERE._replace(token=b"secret")


def host_proof(token: bytes = b"secret", side: str = "host", theirs: str = "mine") -> dict:
    return {"silence": 1.5, "interval": 0.5, "nonce": "h2", "proof": proof.of(token, side, "job", theirs, "h2")}
