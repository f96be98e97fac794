"""The bytes of torch's TCPStore protocol: requests and their answers, to and from values. No socket, no state.

The dialect of torch 2.2 and later opens with five bytes (VALIDATE and a magic number); the one of torch 2.1
opens with its first request and numbers its opcodes one lower. Both become the same Request.

What exceeds a bound below is refused as soon as its length is read, before anything is kept for it.
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

_K, _V = ("key", MAX_KEY), ("value", MAX_VALUE)


class _Shape(NamedTuple):
    """How a request's arguments are laid out."""

    name: str
    fields: tuple[tuple[str, int], ...] = ()
    """What each field is, and how many bytes it may have."""
    counted: bool = False
    """Whether a count stands first, and the fields are repeated so many times."""
    tail: Struct | None = None
    """The number that stands last."""


_U32, _I64, _U64 = Struct("<I"), Struct("<q"), Struct("<Q")
_SHAPES = (
    _Shape("VALIDATE"),
    _Shape("SET", (_K, _V)),
    _Shape("COMPARE_SET", (_K, _V, _V)),
    _Shape("GET", (_K,)),
    _Shape("ADD", (_K,), tail=_I64),
    _Shape("CHECK", (_K,), counted=True),
    _Shape("WAIT", (_K,), counted=True),
    _Shape("GETNUMKEYS"),
    _Shape("DELETE_KEY", (_K,)),
    _Shape("APPEND", (_K, _V)),
    _Shape("MULTI_GET", (_K,), counted=True),
    _Shape("MULTI_SET", (_K, _V), counted=True),
    _Shape("CANCEL_WAIT"),
    _Shape("PING", tail=_U32),
    _Shape("QUEUE_PUSH", (_K, _V)),
    _Shape("QUEUE_POP", (_K,)),
    _Shape("QUEUE_LEN", (_K,)),
    _Shape("LIST_KEYS"),
    _Shape("BARRIER", (_K,), tail=_I64),
)
OPCODES = {shape.name: opcode for opcode, shape in enumerate(_SHAPES)}

_NEW, _OLD = 0, 1
"""What a dialect's opcodes lack to ours."""
_OLD_CODES = 12


class Request(NamedTuple):
    """One request. `fields` are its keys and values in the order of the wire (MULTI_SET: key, value, key ...)."""

    op: int
    fields: Sequence[bytes] = ()
    number: int = 0
    """ADD: the delta. BARRIER: the world size. PING: the nonce."""


def opens(first: bytes) -> bool:
    """Whether a connection that begins with these bytes (one at least) can be one of this protocol."""
    return HELLO.startswith(first[:5]) or (first[0] < _OLD_CODES and not any(first[4:9]))


class Decoder:
    """Turns the bytes of one connection, split anywhere, into requests."""

    __slots__ = ("_fields", "_held", "_left", "_needs", "_op", "_shift")

    def __init__(self) -> None:
        self._shift: int | None = None
        self._op: int | None = None
        """The request that has begun, None between two."""
        self._fields: list[bytes] = []
        self._left = 0
        """How many fields it still lacks."""
        self._held = bytearray()
        """What came of the part that is not complete, and how many bytes that part has."""
        self._needs = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Each request that these bytes complete. Raises ValueError where the stream stops making sense.

        To be iterated to its end before the next call.
        """
        if not data:
            return
        if self._held:
            self._held += data
            if len(self._held) < self._needs:
                return
            data = bytes(self._held)
            self._held.clear()
        at, needs = 0, 0
        if self._shift is None:
            at, needs = self._greet(data)
        while not needs:
            if self._op is None:
                if at == len(data):
                    return
                at, needs = self._begin(data, at)
                if needs:
                    break
            if self._left:
                at, needs = self._take_fields(data, at)
                if needs:
                    break
            assert self._op is not None
            number = 0
            tail = _SHAPES[self._op].tail
            if tail is not None:
                if at + tail.size > len(data):
                    needs = at + tail.size
                    break
                (number,) = tail.unpack_from(data, at)
                at += tail.size
            request = Request(self._op, self._fields, number)
            self._op = None
            yield request
        self._held += data[at:]
        self._needs = needs - at

    def _greet(self, data: bytes) -> tuple[int, int]:
        """Settle the dialect: (where the first request begins, 0), or (0, bytes needed to tell)."""
        if data[0] == VALIDATE and len(data) < len(HELLO):
            return 0, len(HELLO)
        if data.startswith(HELLO):
            self._shift = _NEW
            return len(HELLO), 0
        self._shift = _OLD
        return 0, 0

    def _begin(self, data: bytes, at: int) -> tuple[int, int]:
        """Read a request's opcode and count: (where its fields begin, 0), or (at, bytes needed)."""
        op = data[at] + (self._shift or 0)
        if op == VALIDATE or op >= len(_SHAPES) or (self._shift == _OLD and data[at] >= _OLD_CODES):
            raise ValueError(f"{data[at]} is no opcode")
        shape = _SHAPES[op]
        count = 1
        start = at + 1
        if shape.counted:
            start += 8
            if start > len(data):
                return at, start
            (count,) = _U64.unpack_from(data, at + 1)
            if count > MAX_KEYS:
                raise ValueError(f"{shape.name} of {count} keys: at most {MAX_KEYS} are taken")
        self._op, self._fields, self._left = op, [], count * len(shape.fields)
        return start, 0

    def _take_fields(self, data: bytes, at: int) -> tuple[int, int]:
        """Read fields until none is left: (where they end, 0), or (where the incomplete one begins, needed)."""
        assert self._op is not None
        fields, left, kinds = self._fields, self._left, _SHAPES[self._op].fields
        end = len(data)
        try:
            while left:
                start = at + 8
                if start > end:
                    return at, start
                (size,) = _U64.unpack_from(data, at)
                if size > MAX_KEY:
                    kind, limit = kinds[-left % len(kinds)]
                    if size > limit:
                        raise ValueError(f"{kind} of {size} bytes: at most {limit} are taken")
                stop = start + size
                if stop > end:
                    return at, stop
                fields.append(data[start:stop])
                left -= 1
                at = stop
        finally:
            self._left = left
        return at, 0


def encode(request: Request) -> bytes:
    """The bytes of a request, in the dialect of torch 2.2 and later, without HELLO. Raises ValueError on excess."""
    shape = _SHAPES[request.op]
    parts = [bytes((request.op,))]
    if shape.counted:
        count = len(request.fields) // len(shape.fields)
        if count > MAX_KEYS:
            raise ValueError(f"{shape.name} of {count} keys: at most {MAX_KEYS} are taken")
        parts.append(_U64.pack(count))
    for index, field in enumerate(request.fields):
        kind, limit = shape.fields[index % len(shape.fields)]
        if len(field) > limit:
            raise ValueError(f"{kind} of {len(field)} bytes: at most {limit} are taken")
        parts += (_U64.pack(len(field)), field)
    if shape.tail is not None:
        parts.append(shape.tail.pack(request.number))
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
