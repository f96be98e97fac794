"""Membership under compare-and-swap: what all nodes share in one register, and what it means for one of them.

Each node reads the register, folds its own change into the Round and swaps; a lost swap starts over. Clocks are
never compared: a node's sign of life is a counter, and who watches it measures how long it has stood still.
The bytes are JSON with a version; nothing in them is ever executed.
"""

import json
from collections.abc import Callable, Mapping, Set
from typing import Any

from launcher_core.model.job import Node, Place
from launcher_core.model.news import Formed, News, Over, Regroup
from launcher_core.model.value import Value
from launcher_core.rules.crowd import Ids, Nodes
from launcher_core.rules.ranks import spans
from launcher_core.rules.round import Limits, Phase, Round

VERSION = 1


class Address(Value):
    """Where the workers of a round meet; served by the agent of its rank 0."""

    round: int
    host: str
    port: int


class Register(Value):
    """What the nodes share."""

    round: Round = Round()
    beats: Mapping[str, int] = {}
    """Node id -> signs of life it has given."""
    address: Address | None = None
    """None until rank 0 of the round has said it; one of an earlier round means nothing."""


def encode(register: Register) -> bytes:
    """The register as bytes."""
    fields = {name: _plain(value) for name, value in register.round._asdict().items()}
    address = None if register.address is None else register.address._asdict()
    document = {"version": VERSION, "round": fields, "beats": dict(register.beats), "address": address}
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def decode(data: bytes) -> Register:
    """The register of these bytes. Raises ValueError when they are none."""
    try:
        document = json.loads(data)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']} instead of {VERSION}: nodes run different launchers")
        fields = {name: _KINDS.get(name, _same)(value) for name, value in document["round"].items()}
        address = None if document["address"] is None else Address(**document["address"])
        return Register(Round(**fields), dict(document["beats"]), address)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"the shared state is not one of a launcher: {data[:80]!r} ({error})") from error


def outlook(register: Register, me: str, place: Place | None, limits: Limits) -> News | None:
    """What the register tells a node that holds `place` (None: it waits for one); None when nothing is new."""
    round = register.round
    if round.phase is Phase.OVER:
        return Over(round.succeeded, round.reason)
    if place is not None:
        if round.number == place.round and round.phase is Phase.RUNNING:
            return None
        restart = round.restarts > place.restarts
        return Regroup(place.round, round.reason, restart, round.restarts, limits.max_restarts)
    address = register.address
    if round.phase is not Phase.RUNNING or address is None or address.round != round.number:
        return None
    rank = next((rank for rank, node in enumerate(round.seated) if node.id == me), None)
    return None if rank is None else Formed(_place(round, rank, address))


def is_host(register: Register, me: str) -> bool:
    """Whether this node has to serve the store of a round that has formed, and has not said where yet."""
    round, address = register.round, register.address
    if round.phase is not Phase.RUNNING or (address is not None and address.round == round.number):
        return False
    return round.seated[0].id == me


def watched(register: Register, me: str) -> set[str]:
    """Ids of the nodes whose signs of life matter: all that take part, come back, or wait, but `me`."""
    round = register.round
    here = {node.id for node in (*round.here, *round.seated)} if round.phase is Phase.RUNNING else set(round.expected)
    return (here | {node.id for node in round.here}) - {me}


def _place(round: Round, rank: int, address: Address) -> Place:
    span = spans([(node.role, node.local_world_size) for node in round.seated])[rank]
    return Place(round.number, rank, len(round.seated), *span, address.host, address.port, round.restarts)


def _plain(value: Any) -> Any:
    if isinstance(value, Phase):
        return value.value
    if isinstance(value, Node):
        return value._asdict()
    if isinstance(value, Set):
        return sorted(value)
    return [_plain(item) for item in value] if isinstance(value, Nodes) else value


def _nodes(items: list[dict[str, Any]]) -> Nodes:
    return Nodes(Node(**item) for item in items)


def _same(value: Any) -> Any:
    return value


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "phase": Phase,
    "here": _nodes,
    "seated": _nodes,
    "expected": Ids,
    "finished": Ids,
    "away": frozenset,
}
"""Fields of a Round that JSON does not have as they are."""
