"""Where a running launch can be asked how it is: listening sockets that the agent's own loop looks after.

Nothing is read, counted or imported until somebody asks. That a question is taken in at all shows that the loop
goes round: no thread of its own can say so while it does not. What a question costs is bounded: those who do not ask
at once, or ask something else, wait in a row of `WAITING`, from which the oldest is dropped; `threads` answer, no
more than `ANSWERING` at a time.

The local socket is in Linux's abstract namespace: it has no file that could outlive the agent, and its name ends
with the process, however that ends. Anybody may take such a name, so each side looks who the other is.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from launcher_core.runtime.loop import Loop

PREFIX = "launcher"
WAITING = 16
BACKLOG = 64
"""How many the kernel keeps until the loop comes to let them in; one more is told at once that nobody answers."""
ANSWERING = 8
READ_BYTES = 4096

Facts = Callable[[], dict[str, Any]]


class Door:
    """Belongs to the thread that runs the loop. `facts` is called there, when somebody asks."""

    def __init__(self, loop: Loop, facts: Facts) -> None:
        self._loop = loop
        self._facts = facts
        self._listening: list[socket.socket] = []
        self._waiting: dict[socket.socket, Callable[[bytes, socket.socket], bool]] = {}
        self._answers: Any = None

    def open(self, name: str) -> None:
        """Let this user ask at the local socket; nothing happens where there can be none.

        The socket is called launcher-UID-PID-NAME.
        """
        if sys.platform != "linux":
            return
        with suppress(OSError):
            listener = socket.socket(socket.AF_UNIX)
            self._listening.append(listener)
            listener.bind(f"\0{PREFIX}-{os.geteuid()}-{os.getpid()}-{name}")
            self._listen(listener, self._ask, allowed)

    def open_health(self, host: str, port: int) -> str:
        """Let anybody ask whether all is well, by HTTP; returns the address, HOST:PORT. Raises OSError."""
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        self._listening.append(listener)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        self._listen(listener, self._probe, lambda who: True)
        bound = listener.getsockname()
        return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"

    def close(self) -> None:
        """Close everything; who is being answered gets no more."""
        for one in (*self._listening, *self._waiting):
            with suppress(KeyError, ValueError):
                self._loop.forget(one.fileno())
            one.close()
        self._listening.clear()
        self._waiting.clear()
        if self._answers is not None:
            self._answers.close()

    def _listen(
        self,
        listener: socket.socket,
        asked: Callable[[bytes, socket.socket], bool],
        may: Callable[[socket.socket], bool],
    ) -> None:
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._loop.watch(listener.fileno(), partial(self._let_in, listener, asked, may))

    def _let_in(
        self,
        listener: socket.socket,
        asked: Callable[[bytes, socket.socket], bool],
        may: Callable[[socket.socket], bool],
    ) -> None:
        try:
            who, _ = listener.accept()
        except OSError:  # gone again, or no descriptor is left
            return
        if not may(who):
            who.close()
            return
        who.setblocking(False)
        if len(self._waiting) >= WAITING:
            self._drop(next(iter(self._waiting)))
        self._waiting[who] = asked
        self._loop.watch(who.fileno(), partial(self._hear, who))

    def _drop(self, who: socket.socket) -> None:
        self._loop.forget(who.fileno())
        del self._waiting[who]
        who.close()

    def _hear(self, who: socket.socket) -> None:
        """Take in a question. One that does not come in one piece is none."""
        asked = self._waiting.get(who)
        if asked is None:  # dropped since the loop saw that it is readable
            return
        try:
            question = who.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            question = b""
        self._loop.forget(who.fileno())
        del self._waiting[who]
        if not (question and asked(question, who)):
            who.close()

    def _ask(self, question: bytes, who: socket.socket) -> bool:
        """Have a thread answer; whether one does."""
        if self._answers is None:
            from launcher_core.runtime.answers import Answers

            self._answers = Answers(ANSWERING)
        taken: bool = self._answers.answer(question, who, self._facts())
        return taken

    def _probe(self, question: bytes, who: socket.socket) -> bool:
        from launcher_core.runtime.health import reply

        with suppress(OSError):
            who.send(reply(question, self._facts()["state"]))
            who.shutdown(socket.SHUT_WR)
        return False


def allowed(who: socket.socket) -> bool:
    """Whether the other end of a local socket is this user, or root."""
    return peer(who)[1] in (0, os.geteuid())


def peer(who: socket.socket) -> tuple[int, int]:
    """The pid (0 where it is not to be seen) and the user of the other end of a local socket, as the kernel says."""
    import struct

    if sys.platform != "linux":
        return 0, -1
    pid, uid, _ = struct.unpack("3i", who.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
