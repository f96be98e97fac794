"""The bytes of torch's TCPStore protocol: requests and answers, to and from values. No socket, no key space.

The dialect of torch 2.2 and later opens with five bytes (VALIDATE and a magic number); the one of torch 2.1
opens with its first request and numbers its opcodes one lower. Both are read into the same requests.

What exceeds a bound is refused when its length is read, before anything is kept for it.
"""

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
"""Opcode; keys and values in the order of the wire (MULTI_SET: key, value, key ...); number (ADD: the delta,
BARRIER: the world size, PING: the nonce, else 0). A plain tuple, since one is made for every message.
"""


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

_COUNT_FIRST = -1
_STARTS = tuple((_COUNT_FIRST if layout.counted else len(layout.limits), layout.tail) for layout in _LAYOUTS)
"""Opcode -> how many fields are to come, and the number after them."""

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
        """The first opcode that the dialect lacks, in our numbers; 0 until the dialect is known."""
        self._shift = 0
        self._begun: tuple[int, list[bytes], int] | None = None
        """The incomplete request: opcode, fields so far, how many are to come."""
        self._held = bytearray()
        """What has come of its next part, of no use before there are `_needs` bytes."""
        self._needs = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Each request that these bytes complete; iterate to the end. Raises ValueError on nonsense."""
        if self._held or not self._codes:
            data = self._joined(data)
            if not data:
                return
        begun, self._begun = self._begun, None
        at, end, needs = 0, len(data), 0
        while begun or at < end:
            if begun:
                op, fields, left = begun
                tail = _LAYOUTS[op].tail
                begun = None
            else:
                op, fields = data[at] + self._shift, []
                if not 0 < op < self._codes:
                    raise ValueError(f"{data[at]} is no opcode")
                left, tail = _STARTS[op]
                at += 1
            if left == _COUNT_FIRST:
                needs = at + 8
                if needs > end:
                    break
                left = _fields_to_come(op, data, at)
                at = needs
            while left:
                needs = at + 8
                if needs > end:
                    break
                (size,) = _U64.unpack_from(data, at)
                if size > MAX_KEY:
                    _check_size(op, left, size)
                needs += size
                if needs > end:
                    break
                fields.append(data[at + 8 : needs])
                at = needs
                left -= 1
            if left:
                break
            number = 0
            if tail:
                needs = at + tail.size
                if needs > end:
                    break
                (number,) = tail.unpack_from(data, at)
                at = needs
            yield op, fields, number
        else:
            return
        self._begun = op, fields, left
        self._held += data[at:]
        self._needs = needs - at

    def _joined(self, data: bytes) -> bytes:
        """What was held and this, past the greeting; nothing while there is too little of it."""
        self._held += data
        if len(self._held) < self._needs:
            return b""
        data = bytes(self._held)
        if not self._codes:
            if len(data) < len(HELLO) and HELLO.startswith(data):
                return b""
            if data.startswith(HELLO):
                data, self._codes = data[len(HELLO) :], len(_LAYOUTS)
            else:
                self._codes, self._shift = _OLD_CODES + 1, 1
        self._held.clear()
        return data


def _fields_to_come(op: int, data: bytes, at: int) -> int:
    """How many fields the count announces; raises ValueError when it announces too many."""
    (count,) = _U64.unpack_from(data, at)
    if count > MAX_KEYS:
        raise ValueError(f"{NAMES[op]} of {count} keys: at most {MAX_KEYS} are taken")
    return int(count) * len(_LAYOUTS[op].limits)


def _check_size(op: int, left: int, size: int) -> None:
    """Raises ValueError when a field of this size is too long, with so many fields to come."""
    limits = _LAYOUTS[op].limits
    limit = limits[-left % len(limits)]
    if size > limit:
        raise ValueError(f"{NAMES[op]} with {size} bytes of one key or value: at most {limit} are taken")


def encode(op: int, fields: Sequence[bytes] = (), number: int = 0) -> bytes:
    """The bytes of a request, in the dialect of torch 2.2 and later. Raises ValueError beyond a bound."""
    _, limits, counted, tail = _LAYOUTS[op]
    parts = [bytes((op,))]
    if counted:
        count = _U64.pack(len(fields) // len(limits))
        _fields_to_come(op, count, 0)
        parts.append(count)
    for index, field in enumerate(fields):
        _check_size(op, len(fields) - index, len(field))
        parts += (_U64.pack(len(field)), field)
    if tail:
        parts.append(tail.pack(number))
    return b"".join(parts)


def encode_number(value: int) -> bytes:
    """The answer that is a number: 64 bits, signed."""
    return _I64.pack(value)


def encode_nonce(value: int) -> bytes:
    """The answer to PING."""
    return _U32.pack(value)


def encode_blob(value: bytes) -> bytes:
    """The answer that is one value: its length, then its bytes."""
    return _U64.pack(len(value)) + value
