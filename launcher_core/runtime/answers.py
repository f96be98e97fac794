"""Answers what this user asks a running launch, each question in a thread of its own that ends with the answer.

The thread gets what the agent knows as it was when the question came, and asks the rest of /proc; it touches nothing
of the agent's.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import Any

SEND_SECONDS = 5.0
"""How long an asker may take to read the answer."""
END_SECONDS = 1.0
"""How long the end of the launch waits for a thread that answers."""
STACK_SECONDS = 2.0


class Answers:
    """Called from one thread. At most `most` answers are under way; who asks then gets none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: dict[threading.Thread, socket.socket] = {}
        self._stop = threading.Event()

    def answer(self, question: bytes, who: socket.socket, facts: dict[str, Any]) -> bool:
        """Answer in a thread, which then closes `who`; False when that is no question, or there are too many."""
        self._busy = {thread: one for thread, one in self._busy.items() if thread.is_alive()}
        if question not in (b"status\n", b"stacks\n") or len(self._busy) >= self._most:
            return False
        stacks = question == b"stacks\n"
        thread = threading.Thread(target=self._answer, args=(who, facts, stacks), name="launcher-answer", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            return False
        self._busy[thread] = who
        return True

    def close(self) -> None:
        """Break off what is under way."""
        self._stop.set()
        for who in self._busy.values():
            with suppress(OSError):
                who.shutdown(socket.SHUT_RDWR)
        for thread in self._busy:
            thread.join(END_SECONDS)

    def _answer(self, who: socket.socket, facts: dict[str, Any], stacks: bool) -> None:
        with who, suppress(OSError):
            who.settimeout(SEND_SECONDS)
            who.sendall(json.dumps(self._complete(facts, stacks)).encode())

    def _complete(self, facts: dict[str, Any], stacks: bool) -> dict[str, Any]:
        """The facts, and what /proc adds to them."""
        from launcher_core.runtime.worker_facts import measured

        workers = [{**worker, **measured(worker)} for worker in facts["workers"]]
        if stacks:
            from launcher_core.rules.stacks import to_json
            from launcher_core.runtime.stacks import collect

            pids = {one["local_rank"]: one["pid"] for one in workers if one["exit_code"] is None and one["pid"]}
            found = collect(pids, STACK_SECONDS, self._stop)
            workers = [
                {**one, "stack": to_json(found[one["local_rank"]]) if one["local_rank"] in found else None}
                for one in workers
            ]
        return {**facts, "workers": [{k: v for k, v in one.items() if k != "heard"} for one in workers]}
