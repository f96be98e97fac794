"""The bytes of torch's TCPStore protocol: requests and answers, to and from values. No socket, no key space.

The dialect of torch 2.2 and later opens with five bytes (VALIDATE and a magic number); the one of torch 2.1
opens with its first request and numbers its opcodes one lower. Both are read into the same requests.

What exceeds a bound is refused when its length is read, before anything is kept for it.
"""

from collections.abc import Iterator, Sequence
from struct import Struct

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


_U32, _I64, _U64 = Struct("<I"), Struct("<q"), Struct("<Q")
_K, _V = MAX_KEY, MAX_VALUE
_ONCE, _COUNTED = False, True
_LAYOUTS: tuple[tuple[str, tuple[int, ...], bool, Struct | None], ...] = (
    ("VALIDATE", (), _ONCE, None),
    ("SET", (_K, _V), _ONCE, None),
    ("COMPARE_SET", (_K, _V, _V), _ONCE, None),
    ("GET", (_K,), _ONCE, None),
    ("ADD", (_K,), _ONCE, _I64),
    ("CHECK", (_K,), _COUNTED, None),
    ("WAIT", (_K,), _COUNTED, None),
    ("GETNUMKEYS", (), _ONCE, None),
    ("DELETE_KEY", (_K,), _ONCE, None),
    ("APPEND", (_K, _V), _ONCE, None),
    ("MULTI_GET", (_K,), _COUNTED, None),
    ("MULTI_SET", (_K, _V), _COUNTED, None),
    ("CANCEL_WAIT", (), _ONCE, None),
    ("PING", (), _ONCE, _U32),
    ("QUEUE_PUSH", (_K, _V), _ONCE, None),
    ("QUEUE_POP", (_K,), _ONCE, None),
    ("QUEUE_LEN", (_K,), _ONCE, None),
    ("LIST_KEYS", (), _ONCE, None),
    ("BARRIER", (_K,), _ONCE, _I64),
)
"""Opcode -> its name; the most bytes of each field; whether a count before them says how often they come; the
number after them."""
NAMES = tuple(name for name, _, _, _ in _LAYOUTS)
"""Opcode -> what the protocol calls it."""

_COUNT_FIRST = -1
_STARTS = tuple((_COUNT_FIRST if counted else len(limits), tail) for _, limits, counted, tail in _LAYOUTS)
"""Opcode -> how many fields are to come, and the number after them."""
_Begun = tuple[int, list[bytes], int, Struct | None]
_BETWEEN: _Begun = (VALIDATE, [], 0, None)
"""No request has begun."""

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
        self._begun = _BETWEEN
        """The incomplete request: opcode, fields so far, how many are to come, the number after them."""
        self._held = bytearray()
        """What has come of its next part, of no use before there are `_needs` bytes."""
        self._needs = 0

    def feed(self, data: bytes) -> Iterator[Request]:
        """Each request that these bytes complete; iterate to the end. Raises ValueError on nonsense."""
        if self._held or not self._codes:
            data = self._joined(data)
            if not data:
                return
        (op, fields, left, tail), self._begun = self._begun, _BETWEEN
        at, end, needs = 0, len(data), 0
        while op or at < end:
            if not op:
                op, fields = data[at] + self._shift, []
                if not 0 < op < self._codes:
                    raise ValueError(f"{data[at]} is no opcode")
                (left, tail), at = _STARTS[op], at + 1
            if left == _COUNT_FIRST:
                needs = at + 8
                if needs > end:
                    break
                left, at = _fields_to_come(op, data, at), needs
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
                left, at = left - 1, needs
            if left:
                break
            number = 0
            if tail:
                needs = at + tail.size
                if needs > end:
                    break
                number, at = tail.unpack_from(data, at)[0], needs
            yield op, fields, number
            op = 0
        if op:
            self._begun = op, fields, left, tail
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
    return int(count) * len(_LAYOUTS[op][1])


def _check_size(op: int, left: int, size: int) -> None:
    """Raises ValueError when a field of this size is too long, with so many fields to come."""
    limits = _LAYOUTS[op][1]
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
