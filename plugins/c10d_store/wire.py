"""The bytes of torch's TCPStore protocol: requests and their answers, to and from values. No socket, no key space.

The dialect of torch 2.2 and later opens with five bytes (VALIDATE and a magic number); the one of torch 2.1
opens with its first request and numbers its opcodes one lower. Both are read into the same requests.

What exceeds a bound is refused when its length is read, before anything is kept for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import NamedTuple

# fmt: off
(VALIDATE, SET, COMPARE_SET, GET, ADD, CHECK, WAIT, GETNUMKEYS, DELETE_KEY, APPEND, MULTI_GET, MULTI_SET,
 CANCEL_WAIT, PING, QUEUE_PUSH, QUEUE_POP, QUEUE_LEN, LIST_KEYS, BARRIER) = range(19)
# fmt: on
HELLO = bytes((VALIDATE,)) + (0x3C85F7CE).to_bytes(4, "little")
"""How a client of torch 2.2 or later opens its connection."""

MAX_KEY = 8 * 1024
MAX_VALUE = 8 * 1024 * 1024
MAX_KEYS = 131_072

READY = b"\0"
NOT_READY = b"\1"
STOP_WAITING = b"\0"
WAIT_CANCELED = b"\1"

Request = tuple[int, Sequence[bytes], int]
"""Opcode; keys and values in the order of the wire (MULTI_SET: key, value, key ...); the number, 0 where there is
none (ADD: the delta, BARRIER: the world size, PING: the nonce). A plain tuple, since one is made for every message."""


class _Layout(NamedTuple):
    """How a request's arguments follow its opcode."""

    name: str
    limits: tuple[int, ...] = ()
    """The most bytes that each field may have."""
    counted: bool = False
    """Whether a count comes first, and the fields are repeated so many times."""
    tail: Struct | None = None
    """The number that comes last."""


_U32, _I64, _U64 = Struct("<I"), Struct("<q"), Struct("<Q")
_LAYOUTS = (
    _Layout("VALIDATE"),
    _Layout("SET", (MAX_KEY, MAX_VALUE)),
    _Layout("COMPARE_SET", (MAX_KEY, MAX_VALUE, MAX_VALUE)),
    _Layout("GET", (MAX_KEY,)),
    _Layout("ADD", (MAX_KEY,), tail=_I64),
    _Layout("CHECK", (MAX_KEY,), counted=True),
    _Layout("WAIT", (MAX_KEY,), counted=True),
    _Layout("GETNUMKEYS"),
    _Layout("DELETE_KEY", (MAX_KEY,)),
    _Layout("APPEND", (MAX_KEY, MAX_VALUE)),
    _Layout("MULTI_GET", (MAX_KEY,), counted=True),
    _Layout("MULTI_SET", (MAX_KEY, MAX_VALUE), counted=True),
    _Layout("CANCEL_WAIT"),
    _Layout("PING", tail=_U32),
    _Layout("QUEUE_PUSH", (MAX_KEY, MAX_VALUE)),
    _Layout("QUEUE_POP", (MAX_KEY,)),
    _Layout("QUEUE_LEN", (MAX_KEY,)),
    _Layout("LIST_KEYS"),
    _Layout("BARRIER", (MAX_KEY,), tail=_I64),
)
NAMES = tuple(layout.name for layout in _LAYOUTS)
"""Opcode -> what the protocol calls it."""

_OLD_CODES = 12
"""How many opcodes torch 2.1 has."""


def opens(first: bytes) -> bool:
    """Whether a connection that begins with these bytes (one at least) can be one of this protocol."""
    return HELLO.startswith(first[:5]) or (first[0] < _OLD_CODES and not any(first[4:9]))


class Decoder:
    """Turns the bytes of one connection, split anywhere, into requests."""

    __slots__ = ("_begun", "_codes", "_held", "_needs", "_shift")

    def __init__(self) -> None:
        self._codes = 0
        """The first opcode that its dialect lacks, in our numbers; 0 until the dialect is known."""
        self._shift = 0
        self._begun: tuple[int, list[bytes], int] | None = None
        """The incomplete request: opcode, fields so far, how many are still to come."""
        self._held = bytearray()
        """What came of its next part, which is useless before there are `_needs` bytes."""
        self._needs = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Each request that these bytes complete; to be iterated to the end. Raises ValueError at nonsense."""
        if self._held or not self._codes:
            data = self._joined(data)
        at, end = 0, len(data)
        begun, self._begun = self._begun, None
        if end and not self._codes:
            at = self._greet(data)
        while begun or at < end:
            if begun:
                op, fields, left = begun
                begun = None
                layout = _LAYOUTS[op]
            else:
                op = data[at] + self._shift
                if not 0 < op < self._codes:
                    raise ValueError(f"{data[at]} is no opcode")
                layout = _LAYOUTS[op]
