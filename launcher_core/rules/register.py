"""What all nodes share in one register under compare-and-swap, as a value and as bytes.

The bytes are JSON with a version; nothing in them is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher_core.model.job import Node, Place
from launcher_core.model.value import Value
from launcher_core.rules.crowd import Ids, Nodes
from launcher_core.rules.ranks import spans
from launcher_core.rules.round import SETTLE, Change, Close, Failed, Join, Known, Leave, Limits, Phase, Resume, Round

if TYPE_CHECKING:
    from launcher_core.rules.recall import Past

VERSION = 4


class Call(NamedTuple):
    """A call that is to be made to the backend; its answer is to be sent back."""

    method: str
    args: tuple[Any, ...] = ()


class Terms(Value):
    """What every member of the job is held to; times in seconds."""

    limits: Limits
    join_timeout: float = 600.0
    lease: float = 15.0
    """Without a sign of life for so long a node is lost."""
    where: str = "the register"
    """What is said of the place that they meet over."""


class Address(Value):
    """Where the workers of a round meet; served by the agent of its rank 0."""

    round: int
    host: str
    port: int


class Register(Value):
    """What the nodes share."""

    round: Round = Round()
    heard: Mapping[str, int] = {}
    """Node id -> number of its newest word that was taken in: no word counts twice, whatever became of a swap."""
    beats: Mapping[str, int] = {}
    """Node id -> signs of life it has given; empty where the backend keeps an entry for each node."""
    ask: int = 0
    """The newest question that nodes are to answer in their entries, so that the one who asks knows that they live."""
    address: Address | None = None
    """None until rank 0 of the round has said it; one of an earlier round means nothing."""


Errand = Generator[Call, Any, Register | None]
"""Yields Calls; returns the register as it is then, None when a swap was lost. Raises ValueError for bytes that make no
sense. An errand that is given up halfway leaves nothing undone that the next one does not do."""


class Word(Value):
    """What a node has to say. Its newest word replaces those before: each is answered before there is another."""

    node: Node
    count: int
    say: str
    """One of SAYINGS."""
    round: int = -1
    """The round it is about; for a join the last one that the node took part in, for a leave one it has finished."""
    restarts: int = 0
    """Of a join: how many that node has seen spent; of a failure: how many of them count no more."""
    reason: str = ""
    answer: int = 0
    """The newest question that this node has seen."""
    testimony: Mapping[str, Any] | None = None
    told: str = ""
    """What became of this node's workers, once they have ended in a job that is over."""
    place: Sequence[int] = ()
    """Of a join: the group rank that the node had in that round, and of how many."""


SAYINGS = ("join", "failed", "known", "finished", "leave", "close", "requeue")


def next_word(last: Word | None, say: str, node: Node | None = None, **fields: Any) -> Word | None:
    """What a node says after `last`; None as long as nobody knows which node it is."""
    if last is not None:
        fields = {"answer": last.answer, **fields}
    who = node or (last.node if last is not None else None)
    return None if who is None else Word(who, last.count + 1 if last is not None else 1, say, **fields)


def changes_of(word: Word) -> tuple[Change, ...]:
    """What a word does to the round, in this order."""
    id = word.node.id
    finished = Resume(word.node, word.round)
    if word.say == "join":
        return (Join(word.node, _past(word)),)
    if word.say == "failed":
        return (Failed(id, word.round, word.reason, word.restarts, word.testimony),)
    if word.say == "known":
        return (Known(id, word.round, word.testimony, None, word.told),)
    if word.say == "finished":
        return (finished,)
    if word.say == "leave":
        return (*((finished,) if word.round >= 0 else ()), Leave(id, word.reason))
    return (Close(word.reason, word.say == "requeue", word.testimony),)


def _past(word: Word) -> Past | None:
    if word.round < 0:
        return None
    from launcher_core.rules.recall import Past  # no first round wants it

    return Past(word.round, word.restarts, *word.place)


def encode(register: Register) -> bytes:
    """The register as bytes."""
    fields = {name: _plain(value) for name, value in register.round._asdict().items()}
    address = None if register.address is None else register.address._asdict()
    document = {"version": VERSION, "round": fields, "heard": dict(register.heard), "beats": dict(register.beats)}
    return _bytes({**document, "ask": register.ask, "address": address})


def decode(data: bytes) -> Register:
    """The register of these bytes. Raises ValueError when they are none."""
    try:
        document = _document(data)
        fields = {name: _KINDS.get(name, _same)(value) for name, value in document["round"].items()}
        address = None if document["address"] is None else Address(**document["address"])
        return Register(Round(**fields), dict(document["heard"]), dict(document["beats"]), document["ask"], address)
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"the shared state is not one of a launcher: {data[:80]!r} ({error})") from error


def encode_word(word: Word) -> bytes:
    """The word as bytes."""
    return _bytes({"version": VERSION, **word._asdict(), "node": list(word.node._astuple())})


def decode_word(data: bytes) -> Word:
    """The word of these bytes. Raises ValueError when they are none."""
    try:
        document = _document(data)
        del document["version"]
        word = Word(**{**document, "node": Node(*document["node"]), "place": tuple(document["place"])})
        if word.say in SAYINGS and isinstance(word.count, int) and _is_sound(word.testimony) and _is_place(word):
            return word
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ValueError(f"an entry is not one of a launcher: {data[:80]!r} ({error})") from error
    raise ValueError(f"an entry says what no launcher says: {data[:80]!r}")


def _is_place(word: Word) -> bool:
    wanted = 2 if word.say == "join" and word.round >= 0 else 0
    return len(word.place) == wanted and all(type(one) is int and one >= 0 for one in word.place)


def _is_sound(testimony: Any) -> bool:
    if testimony is None:
        return True
    from launcher_core.rules.testimony import is_sound  # seldom comes

    return is_sound(testimony)


def seat_of(register: Register, id: str) -> Place | None:
    """The place of this node in the round that runs; None without one, or until the round's address is known."""
    round, address = register.round, register.address
    if round.phase is not Phase.RUNNING or address is None or address.round != round.number:
        return None
    rank = next((rank for rank, node in enumerate(round.seated) if node.id == id), None)
    if rank is None:
        return None
    span = spans([(node.role, node.local_world_size) for node in round.seated])[rank]
    return Place(round.number, rank, len(round.seated), *span, address.host, address.port, round.restarts)


def must_host(register: Register, id: str) -> bool:
    """Whether this node has to serve the store of a round that has formed, and has not said where yet."""
    round, address = register.round, register.address
    if round.phase is not Phase.RUNNING or (address is not None and address.round == round.number):
        return False
    return round.seated[0].id == id


def members(round: Round) -> set[str]:
    """Ids of the nodes whose end matters: all that take part, are expected back, or wait."""
    taking_part = round.seated.ids if round.phase is not Phase.GATHERING else round.expected
    return set(taking_part) | set(round.here.ids)


def news_in(register: Register) -> tuple[Any, ...]:
    """What of a register somebody waits for."""
    round = register.round
    return round.number, round.phase, round.restarts, round.deadline, register.ask, register.address


def lasts(round: Round, limits: Limits) -> float:
    """How many seconds it takes until the date of the round: a last call, or, of a job that is over, its verdict."""
    return SETTLE if round.phase is Phase.OVER else limits.last_call


def was_set(answer: tuple[bytes, Any, bool] | None) -> bool:
    """Whether this answer to a swap says that it took place."""
    return answer is not None and answer[2]


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _document(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']} instead of {VERSION}: nodes run different launchers")
    return document


def _plain(value: Any) -> Any:
    if isinstance(value, Phase):
        return value.value
    if isinstance(value, Node):
        return list(value._astuple())
    if isinstance(value, Set):
        return sorted(value)
    if isinstance(value, Value):
        return {name: _plain(item) for name, item in value._asdict().items()}
    return [_plain(item) for item in value] if isinstance(value, Nodes) else value


def _nodes(items: list[list[Any]]) -> Nodes:
    return Nodes(Node(*item) for item in items)


def _recalled(value: Any) -> Any:
    if value is None:
        return None
    from launcher_core.rules.recall import Recalled  # seldom there

    ranks = tuple((id, rank) for id, rank in value["ranks"])
    return Recalled(value["round"], value["size"], ranks, Ids(value["ids"]))


def _same(value: Any) -> Any:
    return value


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "phase": Phase,
    "here": _nodes,
    "seated": _nodes,
    "expected": Ids,
    "finished": Ids,
    "away": frozenset,
    "witnesses": Ids,
    "recalled": _recalled,
    "aftermath": lambda items: tuple((name, told) for name, told in items),
}
"""Fields of a Round that JSON does not have as they are."""
