"""The key space of one store, and its rules: who is woken, what a barrier or a queue does. Does no I/O.

Where torch's two servers differ from each other the rules are ours: a key wakes those who wait for it exactly
when it comes to exist, each WAIT is answered once, and what is pushed to a queue wakes one waiter.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Iterable, Mapping, MutableSet, Sequence

Woken = Sequence[Hashable]
"""Clients whose waits are over, one mention for each wait."""
NOBODY: Woken = ()

_INTEGER = rb"[ \t\n\v\f\r]*+([+-]?)([0-9]++)"
"""Each part is read once: a value can be many megabytes that somebody made up to be tried in every way."""
_I64_MIN, _I64_MAX, _U64_SPAN = -(2**63), 2**63 - 1, 2**64


_Awaited = bytes | tuple[bytes]
"""A key or a queue, or (name,): that the barrier of this name has been passed."""


class _Wait:
    """One WAIT or arrival that is not answered yet."""

    __slots__ = ("client", "missing")

    def __init__(self, client: Hashable, missing: MutableSet[_Awaited]) -> None:
        self.client = client
        self.missing = missing


class KeySpace:
    """Keys and queues, and who waits for them. A client is whatever hashable thing the caller knows it by."""

    __slots__ = ("_awaited", "_queues", "_values", "_waits")

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._queues: dict[bytes, deque[bytes]] = {}
        """Never holds an empty queue."""
        self._awaited: dict[_Awaited, dict[_Wait, None]] = {}
        """Oldest wait first. A key that exists is never in it."""
        self._waits: dict[Hashable, dict[_Wait, None]] = {}

    # --- keys

    def set(self, key: bytes, value: bytes) -> Woken:
        """Store the value; who is woken."""
        self._values[key] = value
        return self._came(key) if key in self._awaited else NOBODY

    def multi_set(self, pairs: Mapping[bytes, bytes]) -> Woken:
        """Store all the values at once; who is woken."""
        self._values.update(pairs)
        return [client for key in pairs if key in self._awaited for client in self._came(key)]

    def get(self, key: bytes) -> bytes:
        """The value, empty when there is none."""
        return self._values.get(key, b"")

    def append(self, key: bytes, value: bytes) -> Woken:
        """Add to the end of the value, which may be absent; who is woken."""
        return self.set(key, self._values.get(key, b"") + value)

    def add(self, key: bytes, delta: int) -> tuple[int, Woken]:
        """Add to the number stored as decimal text, 0 when absent, in 64 bits: (the sum, who is woken).

        Raises ValueError when the value does not begin with a number of 64 bits.
        """
        value = self._values.get(key)
        total = delta if value is None else _to_integer(key, value) + delta
        if not _I64_MIN <= total <= _I64_MAX:
            total = (total - _I64_MIN) % _U64_SPAN + _I64_MIN
        return total, self.set(key, b"%d" % total)

    def compare_set(self, key: bytes, expected: bytes, desired: bytes) -> tuple[bytes, Woken]:
        """Replace the value if it is as expected (absent: expected empty): (the answer, who is woken).

        The answer is the value held now; `expected` when there is none, as torch's servers have it.
        """
        held = self._values.get(key)
        if held is None and expected:
            return expected, NOBODY
        if held is None or held == expected:
            return desired, self.set(key, desired)
        return held, NOBODY

    def delete(self, key: bytes) -> bool:
        """Forget the key; whether it was there. Wakes nobody, and touches no queue."""
        return self._values.pop(key, None) is not None

    def keys(self) -> list[bytes]:
        """Every key, queues apart."""
        return list(self._values)

    def __len__(self) -> int:
        return len(self._values)

    # --- queues

    def push(self, key: bytes, value: bytes) -> Woken:
        """Append to the queue; who is woken: the first waiter, if any, that lacks nothing else."""
        self._queues.setdefault(key, deque()).append(value)
        return self._came(key, at_most=1) if key in self._awaited else NOBODY

    def pop(self, key: bytes) -> tuple[int, bytes]:
        """(The length before, the oldest element); (0, empty) when the queue is empty."""
        queue = self._queues.get(key)
        if queue is None:
            return 0, b""
        length = len(queue)
        value = queue.popleft()
        if not queue:
            del self._queues[key]
        return length, value

    def queue_len(self, key: bytes) -> int:
        """How many elements the queue has."""
        return len(self._queues.get(key, ()))

    # --- waiting

    def has(self, keys: Iterable[bytes]) -> bool:
        """Whether every one of these is a key or a queue with something in it."""
        for key in keys:  # noqa: SIM110 - every wait comes through here, and all() takes twice the time
            if key not in self._values and key not in self._queues:
                return False
        return True

    def wait(self, client: Hashable, keys: Sequence[bytes]) -> bool:
        """True when all are there; else the client is woken once each has come, be it gone again by then."""
        if self.has(keys):
            return True
        self._register(client, {key for key in keys if not self.has((key,))})
        return False

    def arrive(self, client: Hashable, barrier: bytes, world_size: int) -> tuple[bool, Woken]:
        """Count an arrival in the key of the barrier's name: (whether it is complete, who is woken).

        False: the client will be woken when an arrival completes it. A complete barrier stays open.
        Raises ValueError when the key holds no number.
        """
        count, woken = self.add(barrier, 1)
        passed = (barrier,)
        if count < world_size:
            self._register(client, {passed})
            return False, woken
        return True, (*woken, *self._came(passed))

    def cancel(self, client: Hashable) -> None:
        """Forget what the client waits for."""
        for wait in self._waits.pop(client, ()):
            for awaited in wait.missing:
                self._unregister(wait, awaited)

    def _register(self, client: Hashable, missing: MutableSet[_Awaited]) -> None:
        wait = _Wait(client, missing)
        self._waits.setdefault(client, {})[wait] = None
        for awaited in missing:
            self._awaited.setdefault(awaited, {})[wait] = None

    def _unregister(self, wait: _Wait, awaited: _Awaited) -> None:
        waits = self._awaited[awaited]
        del waits[wait]
        if not waits:
            del self._awaited[awaited]

    def _came(self, awaited: _Awaited, at_most: int | None = None) -> list[Hashable]:
        """Take note that this has come to be; the clients, at most so many, that now lack nothing."""
        woken: list[Hashable] = []
        for wait in list(self._awaited.get(awaited, ())):
            if len(woken) == at_most:
                break
            wait.missing.discard(awaited)
            self._unregister(wait, awaited)
            if not wait.missing:
                woken.append(wait.client)
                self._answered(wait)
        return woken

    def _answered(self, wait: _Wait) -> None:
        waits = self._waits[wait.client]
        del waits[wait]
        if not waits:
            del self._waits[wait.client]


def _to_integer(key: bytes, value: bytes) -> int:
    """The number a value begins with, read as C's strtoll reads it."""
    match = re.match(_INTEGER, value)
    digits = (match[2].lstrip(b"0") or b"0") if match else b""
    number = int(match[1] + digits) if match and len(digits) < 20 else None
    if number is None or not _I64_MIN <= number <= _I64_MAX:
        raise ValueError(f"the value of {key!r} is no 64-bit number: {value[:40]!r}")
    return number
