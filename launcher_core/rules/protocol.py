"""The agents' wire protocol: JSON in length-prefixed frames. Sans-IO: bytes in, messages out.

A connection opens with MAGIC, whose first byte no store protocol starts with; then each side sends frames: a
big-endian u32 length and that many bytes of JSON, one object with a key "type".  At most MAX_FRAME bytes each, and
MAX_ASKED from an agent to the coordinator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

MAGIC = b"LAUNCH\x01\n"
MAX_FRAME = 1 << 20
MAX_ASKED = 1 << 16
MAX_NAME = 1024
"""Letters of a node's id, name or role."""

_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would make an encoder for each message
_decode = json.JSONDecoder().decode


def frame(type: str, **fields: Any) -> bytes:
    """One message as bytes."""
    body = _encode({"type": type, **fields}).encode()
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is too large; at most {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


SIGNS = {frame("ok", n=number): number for number in range(10)}
"""Signs of life, and their numbers: an agent counts up to the last and begins again; each is answered with itself.

Most of what is ever sent is this, so it is told apart without being parsed.
"""


class Frames:
    """Takes bytes as they come and gives whole messages."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    @property
    def between(self) -> bool:
        """Whether what comes next begins a message."""
        return not self._buffer

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete with `data`. Raises ValueError on anything that is not a message."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:4], "big")
            if size > self._limit:
                raise ValueError(f"a frame of {size} bytes was announced; at most {self._limit}")
            if len(buffer) < 4 + size:
                break
            messages.append(_message(bytes(buffer[4 : 4 + size])))
            del buffer[: 4 + size]
        return messages


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = _decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {body[:60]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError(f"not a message: {body[:60]!r}")
    return _known(message)


def _known(message: dict[str, Any]) -> dict[str, Any]:
    """The message with the fields that are known; raises ValueError when one of them is not what it must be."""
    kind: str = message["type"]
    shape = MESSAGES.get(kind)
    if shape is None:
        raise ValueError(f"message {kind[:60]!r} is not known here")
    for key, fits in shape.items():
        if not fits(message.get(key)):
            raise ValueError(f"{key} of {kind} is not what it must be")
    return {"type": kind, **{key: message[key] for key in shape if key in message}}


# --- what the fields must be, so that nobody behind this needs to doubt them --------------------------------

Fits = Callable[[Any], bool]


def _text(value: Any) -> bool:
    """A text that can be written anywhere; JSON can spell some that cannot."""
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))


def _name(value: Any) -> bool:
    return _text(value) and len(value) <= MAX_NAME


def _whole(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _count(value: Any) -> bool:
    return _whole(value) and value >= 0


def _workers(value: Any) -> bool:
    return _whole(value) and 0 < value < 1 << 20


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= 1e9


def _moment(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and -1e9 < value < 1e9)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _flag_or_none(value: Any) -> bool:
    """A flag that older agents do not know."""
    return value is None or _flag(value)


def _past(value: Any) -> bool:
    """Nothing, or the four numbers of a Past (rules/recall.py)."""
    return value is None or (isinstance(value, list) and len(value) == 4 and all(map(_count, value)))


def _node(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == NODE.keys() and all(NODE[key](value[key]) for key in NODE)


def _or_none(fits: Fits) -> Fits:
    return lambda value: value is None or fits(value)


def _testimony(value: Any) -> bool:
    from launcher_core.rules.testimony import is_sound  # seldom comes

    return is_sound(value)


def _aftermath(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, list) and len(one) == 2 and all(map(_text, one)) for one in value
    )


NODE: Mapping[str, Fits] = {
    "id": _name,
    "name": _name,
    "local_world_size": _workers,
    "role": _name,
    "node_rank": _or_none(_count),
    "pid": _count,
}
MESSAGES: Mapping[str, Mapping[str, Fits]] = {
    # from the host
    "challenge": {"nonce": _text, "token": _flag},
    "welcome": {"silence": _seconds, "interval": _seconds, "nonce": _text, "proof": _text},
    "refused": {"reason": _text},
    "seat": {
        "round": _count,
        "group_rank": _count,
        "group_world_size": _count,
        "base_rank": _count,
        "world_size": _count,
        "base_role_rank": _count,
        "role_world_size": _count,
        "restarts": _count,
        "master_addr": _text,
        "master_port": _count,
    },
    "dismiss": {"round": _whole, "reason": _text, "restart": _flag, "restarts": _count, "max_restarts": _whole},
    "park": {},
    "waiting": {"have": _count, "low": _count, "high": _count, "detail": _text, "seconds_left": _moment, "then": _text},
    "end": {
        "succeeded": _flag,
        "reason": _text,
        "requeue": _flag_or_none,
        "verdict": _or_none(_testimony),
        "settled": _flag_or_none,
        "aftermath": _or_none(_aftermath),
    },
    # from an agent
    "hello": {"run_id": _text, "nonce": _text, "proof": _or_none(_text)},
    "join": {"node": _node, "past": _past},
    "resume": {"node": _node, "round": _whole},
    "failed": {
        "round": _whole,
        "reason": _text,
        "forgiven": _or_none(_count),
        "testimony": _or_none(_testimony),
    },
    "testify": {"round": _whole, "testimony": _or_none(_testimony), "told": _text},
    "finished": {"round": _whole},
    "leave": {"reason": _text},
    "close": {"reason": _text, "requeue": _flag_or_none, "testimony": _or_none(_testimony)},
    # from both
    "ok": {"n": _whole},
}
"""Type -> each field of it, and whether a value (None when it is missing) may stand there."""
