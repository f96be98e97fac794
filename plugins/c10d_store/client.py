"""A client of a TCPStore server, ours or torch's: one connection, one request at a time, blocking.

Keys travel with a "/" in front, as torch's own client sends them. A wait that runs out of time leaves the
client usable; any other failure on the way closes it for good: nothing in an answer says what it answers.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic, sleep
from types import TracebackType

from launcher_plugins.c10d_store import wire

Text = str | bytes

_RECEIVE_BYTES = 64 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_ATTEMPT_SECONDS = 10.0
"""For one address to accept: a host that is not up yet answers nothing at all."""


class StoreClient:
    """A connection to a store. Times are seconds; without one, a call takes at most the client's `timeout`.

    Raises TimeoutError when the server did not answer in time, ConnectionError when the connection is lost,
    and ValueError for a key or a value that is too long to send. Threads that share one wait for each other.
    """

    def __init__(self, host: str, port: int, timeout: float = 300.0) -> None:
        """Connect, trying again until `timeout` is over; then raises TimeoutError."""
        self.host = host
        self.port = port
        self.timeout = timeout
        self._lock = threading.RLock()
        self._received = bytearray()
        self._sock: socket.socket | None = None
        self._connect(monotonic() + timeout)

    # --- keys

    def set(self, key: str, value: Text) -> None:
        """Store the value. Not answered: a failure shows with the next call."""
        self._post(wire.SET, (_key(key), _bytes(value)))

    def get(self, key: str, timeout: float | None = None) -> bytes:
        """The value, once there is one."""
        with self._lock:
            self.wait([key], timeout)
            self._post(wire.GET, (_key(key),))
            return self._read_blob()

    def add(self, key: str, delta: int) -> int:
        """Add to the number stored under the key, 0 when absent; the sum."""
        return self._ask_number(wire.ADD, (_key(key),), delta)

    def append(self, key: str, value: Text) -> None:
        """Add to the end of the value, which may be absent. Not answered."""
        self._post(wire.APPEND, (_key(key), _bytes(value)))

    def compare_set(self, key: str, expected: Text, desired: Text) -> bytes:
        """Replace the value if it is as expected (absent: expected empty); what is held then.

        When there is no such key and `expected` is not empty, the server answers `expected`: nothing is held.
        """
        with self._lock:
            self._post(wire.COMPARE_SET, (_key(key), _bytes(expected), _bytes(desired)))
            return self._read_blob()

    def check(self, keys: Iterable[str]) -> bool:
        """Whether all of these exist."""
        with self._lock:
            self._post(wire.CHECK, [_key(key) for key in keys])
            return self._read(1) == wire.READY

    def delete_key(self, key: str) -> bool:
        """Forget the key; whether it was there."""
        return self._ask_number(wire.DELETE_KEY, (_key(key),)) > 0

    def num_keys(self) -> int:
        """How many keys there are, those of other kinds of clients included."""
        return self._ask_number(wire.GETNUMKEYS)

    def list_keys(self) -> list[str]:
        """The keys that clients have set, in no order."""
        with self._lock:
            self._post(wire.LIST_KEYS)
            keys = [self._read_blob() for _ in range(self._read_number())]
        return [key[1:].decode(errors="surrogateescape") for key in keys if key.startswith(b"/")]

    def multi_get(self, keys: Sequence[str], timeout: float | None = None) -> list[bytes]:
        """The values, in order, once there are all."""
        with self._lock:
            self.wait(keys, timeout)
            self._post(wire.MULTI_GET, [_key(key) for key in keys])
            return [self._read_blob() for _ in keys]

    def multi_set(self, pairs: Mapping[str, Text]) -> None:
        """Store all the values. Not answered."""
        fields = [field for key, value in pairs.items() for field in (_key(key), _bytes(value))]
        self._post(wire.MULTI_SET, fields)

    # --- queues

    def queue_push(self, key: str, value: Text) -> None:
        """Append to the queue. Not answered."""
        self._post(wire.QUEUE_PUSH, (_key(key), _bytes(value)))

    def queue_pop(self, key: str, timeout: float | None = None) -> bytes:
        """Take the oldest element, once there is one; another client may be faster, then the next."""
        deadline = self._deadline(timeout)
        with self._lock:
            while True:
                self.wait([key], deadline - monotonic())
                self._post(wire.QUEUE_POP, (_key(key),))
                if self._read_number() > 0:
                    return self._read_blob()

    def queue_len(self, key: str) -> int:
        """How many elements the queue has."""
        return self._ask_number(wire.QUEUE_LEN, (_key(key),))

    # --- waiting

    def wait(self, keys: Iterable[str], timeout: float | None = None) -> None:
        """Return once all of these exist. Raises TimeoutError, naming those that do not."""
        names = list(keys)
        with self._lock:
            if not self._await(timeout, wire.WAIT, [_key(key) for key in names]):
                missing = [name for name in names if not self.check([name])]
                raise TimeoutError(
                    f"{self}: waited {self._seconds(timeout):g} s for {_listed(missing or names)}, "
                    "which nobody has set; is every worker alive, and is the time enough?"
                )

    def barrier(self, key: str, world_size: int, timeout: float | None = None) -> None:
        """Arrive, and return once `world_size` have. Raises TimeoutError; the arrival counts nevertheless."""
        with self._lock:
            if not self._await(timeout, wire.BARRIER, (_key(key),), world_size):
                here = self.add(key, 0)
                raise TimeoutError(
                    f"{self}: waited {self._seconds(timeout):g} s at barrier {key!r}, where {here} of "
                    f"{world_size} have arrived; is every worker alive, and is the time enough?"
                )

    def close(self) -> None:
        """Close the connection; later calls raise ConnectionError."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def __enter__(self) -> StoreClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __str__(self) -> str:
        return f"store at {self.host}:{self.port}"

    # --- the connection

    def _connect(self, deadline: float) -> None:
        pause, why = _FIRST_PAUSE, None
        while True:
            try:
                self._open(deadline)
                return
            except OSError as error:
                self.close()
                if why is None or not isinstance(error, TimeoutError):  # the last try is cut short: it tells less
                    why = error
                left = deadline - monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{self}: no connection within {self.timeout:g} s ({why}); "
                        "is the address right, and the server running?"
                    ) from why
            sleep(min(left, pause * (0.5 + os.urandom(1)[0] / 255)))
            pause = min(_LONGEST_PAUSE, pause * 1.5)

    def _open(self, deadline: float) -> None:
        left = max(0.001, deadline - monotonic())
        self._received.clear()
        self._sock = socket.create_connection((self.host, self.port), min(left, _ATTEMPT_SECONDS))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nonce = os.getpid()
        self._send(wire.HELLO + wire.encode(wire.PING, number=nonce))
        if not self._fill(4, deadline):
            raise TimeoutError("it does not answer")
        if self._take(4) != wire.encode_nonce(nonce):
            raise ConnectionError("what answers there is no store")

    def _post(self, op: int, fields: Sequence[bytes] = (), number: int = 0) -> None:
        data = wire.encode(op, fields, number)
        with self._lock:
            self._send(data)

    def _ask_number(self, op: int, fields: Sequence[bytes] = (), number: int = 0) -> int:
        with self._lock:
            self._post(op, fields, number)
            return self._read_number()

    def _await(self, timeout: float | None, op: int, fields: Sequence[bytes], number: int = 0) -> bool:
        """Whether the wait ended in time; when not, it is cancelled."""
        self._post(op, fields, number)
        if self._fill(1, self._deadline(timeout)):
            self._take(1)
            return True
        self._post(wire.CANCEL_WAIT)
        if self._read(1) == wire.WAIT_CANCELED:
            return False
        self._read(1)  # the wait had ended when the cancelling came: both are answered
        return True

    def _read_number(self) -> int:
        return int.from_bytes(self._read(8), "little", signed=True)

    def _read_blob(self) -> bytes:
        return self._read(int.from_bytes(self._read(8), "little"))

    def _read(self, size: int) -> bytes:
        if not self._fill(size, self._deadline(None)):
            self.close()
            raise TimeoutError(f"{self}: no answer within {self.timeout:g} s; the connection is given up")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._received)[:size])
        del self._received[:size]
        return data

    def _fill(self, size: int, deadline: float) -> bool:
        """Whether so many bytes are there before the deadline."""
        while len(self._received) < size:
            left = deadline - monotonic()
            if left <= 0:
                return False
            sock = self._connected()
            try:
                sock.settimeout(left)
                chunk = sock.recv(_RECEIVE_BYTES)
            except TimeoutError:
                return False
            except OSError as error:
                raise self._lost(str(error)) from error
            if not chunk:
                raise self._lost("the server closed it: it has ended, or refused the last request")
            self._received += chunk
        return True

    def _send(self, data: bytes) -> None:
        sock = self._connected()
        try:
            sock.settimeout(self.timeout)
            sock.sendall(data)
        except OSError as error:
            raise self._lost(str(error)) from error

    def _connected(self) -> socket.socket:
        if self._sock is None:
            raise ConnectionError(f"{self}: the connection is closed")
        return self._sock

    def _lost(self, why: str) -> ConnectionError:
        self.close()
        return ConnectionError(f"{self}: the connection is lost ({why})")

    def _deadline(self, timeout: float | None) -> float:
        return monotonic() + self._seconds(timeout)

    def _seconds(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout


def _key(name: str) -> bytes:
    return b"/" + name.encode(errors="surrogateescape")


def _bytes(value: Text) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _listed(names: Sequence[str]) -> str:
    """At most eight names, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{'key' if len(names) == 1 else 'keys'} {shown}{more}"
