"""The store's end of a conversation: requests are decoded, done to the key space, and answered.

One thread serves all sessions of a service, so nothing here is locked. No socket: see Peer in hooks/ports.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from launcher_core.hooks.ports import Peer
from launcher_plugins.c10d_store import wire
from launcher_plugins.c10d_store.keys import KeySpace, Woken

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes that one request may ask for, or several that come in one piece."""
MAX_GROWN = MAX_ANSWER // 2
"""Bytes of a value that APPEND makes: with more it could be stored, and never be read."""


class StoreService:
    """A key space of its own, served to any number of clients."""

    def __init__(self) -> None:
        self._space = KeySpace()

    def claims(self, first: bytes) -> bool:
        """Whether a connection that opens with these bytes (one at least) can speak this protocol."""
        return wire.opens(first)

    def open(self, peer: Peer) -> StoreSession:
        """Begin a conversation."""
        return StoreSession(peer, self._space)


class StoreSession:
    """One client of the store."""

    __slots__ = ("_decoder", "_peer", "_receiving", "_replies", "space")

    def __init__(self, peer: Peer, space: KeySpace) -> None:
        self.space = space
        self._peer = peer
        self._decoder = wire.Decoder()
        self._receiving = False
        self._replies: list[bytes] = []

    def receive(self, data: bytes) -> None:
        """Take the next bytes, split anywhere. Raises ValueError on nonsense; what preceded it is done."""
        replies = self._replies
        size = 0
        self._receiving = True
        try:
            for op, fields, number in self._decoder.feed(data):
                reply = _ACTIONS[op](self, fields, number)
                if reply:
                    size += len(reply)
                    if size > MAX_ANSWER:
                        raise ValueError(f"asks for more than {MAX_ANSWER} bytes at once")
                    replies.append(reply)
        finally:
            self._receiving = False
            if replies:
                self._peer.send(replies[0] if len(replies) == 1 else b"".join(replies))
                replies.clear()

    def lost(self) -> None:
        """The connection is gone: nobody waits here any more."""
        self.space.cancel(self)

    def stop_waiting(self) -> None:
        """Answer a wait that is over; in its turn, when this session is being served."""
        if self._receiving:
            self._replies.append(wire.STOP_WAITING)
        else:
            self._peer.send(wire.STOP_WAITING)


def _wake(woken: Woken) -> None:
    for client in woken:
        cast(StoreSession, client).stop_waiting()


def _set(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    woken = session.space.set(fields[0], fields[1])
    if woken:
        _wake(woken)
    return b""


def _compare_set(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    value, woken = session.space.compare_set(*fields)
    _wake(woken)
    return wire.encode_blob(value)


def _get(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.encode_blob(session.space.get(fields[0]))


def _add(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    total, woken = session.space.add(fields[0], number)
    _wake(woken)
    return wire.encode_number(total)


def _check(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.READY if session.space.has(fields) else wire.NOT_READY


def _wait(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.STOP_WAITING if session.space.wait(session, fields) else b""


def _num_keys(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.encode_number(len(session.space))


def _delete_key(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.encode_number(session.space.delete(fields[0]))


def _append(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    key, value = fields
    if len(session.space.get(key)) + len(value) > MAX_GROWN:
        raise ValueError(f"APPEND makes the value of {key!r} longer than {MAX_GROWN} bytes")
    _wake(session.space.append(key, value))
    return b""


def _multi_get(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    values = [session.space.get(key) for key in fields]
    if sum(map(len, values)) > MAX_ANSWER:  # before anything is copied: a key may be named many times
        raise ValueError(f"asks for more than {MAX_ANSWER} bytes at once")
    return b"".join(map(wire.encode_blob, values))


def _multi_set(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    _wake(session.space.multi_set(dict(zip(fields[::2], fields[1::2], strict=True))))
    return b""


def _cancel_wait(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    session.space.cancel(session)
    return wire.WAIT_CANCELED


def _ping(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.encode_nonce(number)


def _queue_push(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    _wake(session.space.push(fields[0], fields[1]))
    return b""


def _queue_pop(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    length, value = session.space.pop(fields[0])
    return wire.encode_number(length) + wire.encode_blob(value) if length else wire.encode_number(0)


def _queue_len(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    return wire.encode_number(session.space.queue_len(fields[0]))


def _list_keys(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    keys = session.space.keys()
    return wire.encode_number(len(keys)) + b"".join(map(wire.encode_blob, keys))


def _barrier(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    passed, woken = session.space.arrive(session, fields[0], number)
    _wake(woken)
    return wire.STOP_WAITING if passed else b""


def _refuse(session: StoreSession, fields: Sequence[bytes], number: int) -> bytes:
    raise ValueError("VALIDATE may only come first")


_Action = Callable[[StoreSession, Sequence[bytes], int], bytes]
_ACTIONS: tuple[_Action, ...] = (
    _refuse,
    _set,
    _compare_set,
    _get,
    _add,
    _check,
    _wait,
    _num_keys,
    _delete_key,
    _append,
    _multi_get,
    _multi_set,
    _cancel_wait,
    _ping,
    _queue_push,
    _queue_pop,
    _queue_len,
    _list_keys,
    _barrier,
)
"""What each opcode does, by its number."""
