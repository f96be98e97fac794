"""Follows keys of etcd in one stream, which goes on at another member, where it was, when one fails.

The stream itself waits for ever: a member that is frozen is noticed by the requests that go to it beside, above all
the keep-alives, and a cable that is cut by the system's own probes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from launcher_core.errors import RendezvousConnectionError
from launcher_plugins.etcd.faults import Member
from launcher_plugins.etcd.gateway import Gateway, text
from launcher_plugins.etcd.parts import Change, written

PAUSES = (0.05, 1.0)
"""Seconds from the end of a stream to the next, at first and at most."""


class Span(NamedTuple):
    """A key; or the keys from it on, up to but not with `end`."""

    key: bytes
    end: bytes = b""


class Watcher:
    """One helper thread. `heard` is called by it with changes in their order, `missed` when some cannot be had."""

    def __init__(self, gateway: Gateway, heard: Callable[[Sequence[Change]], None], missed: Callable[[], None]) -> None:
        self._gateway = gateway
        self._heard = heard
        self._missed = missed
        self._next: dict[Span, int] = {}
        self._wanted = 0
        self._standing = -1
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        gateway.on_failure = self._avoid

    @property
    def covering(self) -> bool:
        """Whether a member has promised to tell of all that is wanted, and the stream stands."""
        return self._standing == self._wanted

    def follow(self, spans: Mapping[Span, int]) -> None:
        """Tell of these from now on, of each from a revision on; of nothing else."""
        with self._changed:
            if set(spans) == set(self._next):
                return
            self._next = dict(spans)
            self._wanted += 1
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="etcd-watch", daemon=True)
            self._thread.start()
        else:
            self._gateway.cut(self._thread)

    def stop(self) -> None:
        """End the thread, once the gateway has been stopped."""
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _avoid(self, member: Member) -> None:
        """Leave a member that somebody else found failing."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        if self._gateway.member_of(thread) == member:
            self._gateway.cut(thread)

    def _run(self) -> None:
        pause = PAUSES[0]
        while not self._gateway.closing:
            with self._changed:
                spans, wanted = list(self._next), self._wanted
                body = "".join(json.dumps(_request(span, self._next[span])) for span in spans)
            with suppress(RendezvousConnectionError):
                self._read(spans, wanted, body.encode())
            pause = PAUSES[0] if self.covering else min(2 * pause, PAUSES[1])
            self._standing = -1
            with self._changed:
                if self._wanted == wanted and not self._gateway.closing:
                    self._changed.wait(pause)

    def _read(self, spans: list[Span], wanted: int, body: bytes) -> None:
        """Read one stream until it ends, or is not wanted any more."""
        promised = 0
        for message in self._gateway.stream("/v3/watch", body):
            result = message.get("result") or {}
            if "error" in message or result.get("canceled"):
                self._refused(result)
                return
            promised += bool(result.get("created"))
            if self._wanted != wanted or self._gateway.closing:
                return
            if promised == len(spans):
                self._standing = wanted
            self._take(spans[int(result.get("watch_id", 0))], wanted, result.get("events", ()))

    def _take(self, span: Span, wanted: int, events: Sequence[Mapping[str, Any]]) -> None:
        changes = [change_of(event) for event in events]
        if not changes:
            return
        with self._changed:
            if self._wanted == wanted:
                self._next[span] = changes[-1].revision + 1
        self._heard(changes)

    def _refused(self, result: Mapping[str, Any]) -> None:
        """The member cannot go on: it has forgotten what was asked for, or has lost its leader."""
        oldest = int(result.get("compact_revision", 0))
        if not oldest:
            self._gateway.leave()
            return
        with self._changed:
            self._next = {span: max(oldest, start) for span, start in self._next.items()}
        self._missed()


def change_of(event: Mapping[str, Any]) -> Change:
    """What an event of the gateway means."""
    change = written(event["kv"])
    return change._replace(value=None) if event.get("type") == "DELETE" else change


def _request(span: Span, start: int) -> dict[str, Any]:
    wish: dict[str, Any] = {"key": text(span.key), "start_revision": start}
    if span.end:
        wish["range_end"] = text(span.end)
    return {"create_request": wish}
