"""Finds this user's running launchers on this machine, and asks them, all at once and within a bound.

They are found by the names of their sockets in the kernel's own list, which holds nothing that has ended.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from launcher_core.runtime.door import PREFIX, peer

NAMES = "/proc/net/unix"
LISTENS = 0x10000
MAX_BYTES = 64 << 20
SILENT = "it does not answer"


class Address(NamedTuple):
    """Where a launcher can be asked; the pid is that by which it knows itself."""

    name: str
    pid: int


class Reply(NamedTuple):
    """What a launcher said; `facts` is None when it said nothing in time, or nothing that makes sense."""

    pid: int
    facts: dict[str, Any] | None
    why: str = ""


def addresses() -> list[Address]:
    """The launchers of this user, by pid; of all users for root."""
    try:
        with open(NAMES, encoding="utf-8", errors="replace") as file:
            lines = file.readlines()[1:]
    except OSError:
        return []
    return sorted(find_names(lines, os.geteuid()), key=lambda one: one.pid)


def find_names(lines: Iterable[str], uid: int) -> list[Address]:
    """The launchers in the kernel's list of sockets: those of the user, of all users for 0."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) != 8 or not int(words[3], 16) & LISTENS:
            continue
        prefix, *rest = words[7].split("-")
        if prefix != f"@{PREFIX}" or len(rest) != 3 or not (rest[0].isdecimal() and rest[1].isdecimal()):
            continue
        if uid in (0, int(rest[0])):
            found.append(Address(words[7][1:], int(rest[1])))
    return found


def ask(where: Iterable[Address], question: str, seconds: float) -> list[Reply]:
    """What each says to the question, "status" or "stacks"; all of them have `seconds` in all."""
    deadline = monotonic() + seconds
    replies: dict[str, Reply] = {}
    heard: dict[str, bytearray] = {}
    with selectors.DefaultSelector() as selector:
        for address in where:
            try:
                line = _connected(address, question)
            except BlockingIOError:  # the row of those who ask is full
                replies[address.name] = Reply(address.pid, None, SILENT)
                continue
            except OSError:  # it has just ended, or a stranger has taken such a name
                continue
            heard[address.name] = bytearray()
            replies[address.name] = Reply(peer(line)[0] or address.pid, None, SILENT)
            selector.register(line, selectors.EVENT_READ, address)
        while selector.get_map() and monotonic() < deadline:
            for key, _ in selector.select(max(0.0, deadline - monotonic())):
                name = key.data.name
                if not _hear(key.fileobj, heard[name]):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
                    replies[name] = _understood(replies[name].pid, heard[name])
        for key in tuple(selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
    return list(replies.values())


def _connected(address: Address, question: str) -> socket.socket:
    """A connection on which the question has been put. Raises OSError when the other end is not that user's."""
    line = socket.socket(socket.AF_UNIX)
    try:
        line.setblocking(False)
        line.connect(f"\0{address.name}")
        if str(peer(line)[1]) != address.name.split("-")[1]:
            raise PermissionError("another user's process has taken a launcher's name")
        line.send(question.encode() + b"\n")
    except OSError:
        line.close()
        raise
    return line


def _hear(line: Any, heard: bytearray) -> bool:
    """Read what is there; whether there may be more."""
    with suppress(BlockingIOError):
        try:
            data = line.recv(1 << 16)
        except ConnectionError:
            return False
        heard += data
        return bool(data) and len(heard) <= MAX_BYTES
    return True


def _understood(pid: int, heard: bytearray) -> Reply:
    if not heard:
        return Reply(pid, None, "it has just ended, or is asked too much at once")
    try:
        facts = json.loads(heard)
        return Reply(pid, facts if isinstance(facts, dict) else None, "what it says makes no sense")
    except ValueError:
        return Reply(pid, None, "it ended while it answered")
