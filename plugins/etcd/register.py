"""The shared register of a job, and an entry for each of its nodes, in etcd.

`<prefix>/<run_id>/state` and `<prefix>/<run_id>/nodes/<id>`. An entry hangs on its node's lease; the state on a longer
one, so that nothing stays when all nodes are killed. Of the nodes only the one with the oldest entry follows them all:
each of the others knows the entry before its own, and follows that and the state. So what a node costs does not grow
with the job. What the stream has told may lag: a swap holds the state's revision, and that this node's entry stands.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any
from urllib.parse import quote, unquote

from launcher_core.errors import RendezvousConnectionError
from launcher_plugins.etcd.gateway import Gateway, Unknown, text
from launcher_plugins.etcd.leases import NEVER, NOT_FOUND, Leases
from launcher_plugins.etcd.parts import Change, pairs, reading, writing, written
from launcher_plugins.etcd.watching import Span, Watcher
from launcher_plugins.etcd.wire import Refused

TRIES = 10
"""Of writing an entry that somebody else writes, too."""


class EtcdRegister:
    """A LeasedBackend."""

    name = "etcd"

    def __init__(self, gateway: Gateway, prefix: str, run_id: str, lease_ttl: float) -> None:
        root = f"{prefix}/{quote(run_id, safe='')}/".encode()
        self._all = Span(root, root[:-1] + b"0")  # "0" follows "/"
        self._state_key = root + b"state"
        self._nodes = Span(root + b"nodes/", root + b"nodes0")
        self._gateway = gateway
        self._leases = Leases(gateway, lease_ttl, self._ended)
        self._leases.tended = self._tended
        self._watcher = Watcher(gateway, self._heard, self._missed)
        self._changed: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._state: Change | None = None
        self._state_known = (0, NEVER)
        """At which revision, and when, that was known to be so."""
        self._mine = b""
        self._said = b""
        self._written = 0
        """The revision of this node's entry."""
        self._born = 0
        """At which revision this node's entry came to be; 0 when it has put up none."""
        self._stands = False
        self._leading = False
        self._ahead: bytes | None = None
        self._ahead_known = NEVER
        self._entries: dict[bytes, Change] | None = None
        self._entries_known = (0, NEVER)

    @property
    def lease_seconds(self) -> float:
        """How long an entry stands after the last sign of life."""
        return self._leases.seconds

    def describe(self) -> dict[str, str]:
        """For --dry-run: where, as whom, and what waits for how long."""
        access = self._gateway.access
        told = {
            "meets at": ", ".join(f"{one.scheme}://{one}" for one in access.members),
            "keys begin with": self._all.key.decode(),
            "a member is given up after": f"{access.request_timeout:g} s",
            "an etcd that never answers is given up after": f"{access.connect_timeout:g} s",
        }
        return {**told, "user": access.identity.user} if access.identity.user else told

    def local_address(self) -> str:
        """This machine's address, as etcd sees it; empty before there was a connection."""
        return self._gateway.address

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called when the state, or what this node follows beside it, may have changed."""
        self._changed = changed

    def close(self) -> None:
        """End the threads and connections. What was not withdrawn ends with its lease."""
        self._gateway.stop()
        self._leases.stop()
        self._watcher.stop()
        self._gateway.close()

    # --- the state ----------------------------------------------------------------------------------------

    def get_state(self) -> tuple[bytes, int] | None:
        """The state and its revision; what the stream has told, where it stands and was checked not long ago."""
        if not (self._watcher.covering and self._fresh(self._state_known[1])):
            self._look()
        state = self._state
        return None if state is None or state.value is None else (state.value, state.revision)

    def _look(self) -> None:
        """Ask for the state; only whether it is still the same, where one is known."""
        known = self._state
        wish = reading(self._state_key)
        sent = monotonic()
        compare = [self._unchanged(known.revision if known and known.value is not None else -1)]
        answer = self._gateway.call("/v3/kv/txn", {"compare": compare, "failure": [wish]})
        revision = int(answer["header"]["revision"])
        if not answer.get("succeeded"):
            self._learn(self._state_in(answer, revision), revision, sent)
        elif known is not None:
            self._learn(known, revision, sent)
        self._follow()

    def set_state(self, state: bytes, token: Any | None = None) -> tuple[bytes, int, bool] | None:
        """Swap, if the state is what `token` stands for, and this node's entry stands where it has one."""
        try:
            answer = self._swap(state, token)
        except Refused as error:
            if error.code != NOT_FOUND:
                raise
            self._leases.state = 0
            answer = self._swap(state, token)
        except Unknown:
            return self._find_out(state, token)
        revision = int(answer["header"]["revision"])
        if answer.get("succeeded"):
            self._learn(Change(self._state_key, state, revision, lease=self._leases.state), revision, monotonic())
            return state, revision, True
        self._learn(self._state_in(answer, revision), revision, monotonic())
        if self._born and [one.created for one in pairs(answer, 1)] != [self._born]:
            self._leases.lose(self._leases.node)
        return self._truth()

    def _swap(self, state: bytes, token: Any | None) -> dict[str, Any]:
        lease = self._leases.hold_state()
        compare, wish = [self._unchanged(token or 0)], [reading(self._state_key)]
        if self._born:
            compare.append(
                {"key": text(self._mine), "target": "CREATE", "result": "EQUAL", "create_revision": self._born}
            )
            wish.append(reading(self._mine, values=False))
        put = {"request_put": {"key": text(self._state_key), "value": text(state), "lease": lease}}
        return self._gateway.call("/v3/kv/txn", {"compare": compare, "success": [put], "failure": wish}, once=True)

    def _find_out(self, state: bytes, token: Any | None) -> tuple[bytes, int, bool] | None:
        """Whether a swap took place that nobody answered: what this node wrote hangs on this node's lease.

        One that is still on its way may yet win: over this node's next one, which then loses. Never over another's.
        One that another node has written over meanwhile counts as lost: the truth holds what it said.
        """
        self._state_known = (self._state_known[0], NEVER)
        self._look()
        now = self._state
        if now is not None and now.lease == self._leases.state and now.value == state and now.revision != token:
            return state, now.revision, True
        return self._truth()

    def _truth(self) -> tuple[bytes, int, bool] | None:
        now = self._state
        return None if now is None or now.value is None else (now.value, now.revision, False)

    def _unchanged(self, revision: int) -> dict[str, Any]:
        """The condition that the state has this revision; 0: that there is none."""
        return {"key": text(self._state_key), "target": "MOD", "result": "EQUAL", "mod_revision": revision}

    def _state_in(self, answer: Mapping[str, Any], revision: int) -> Change:
        found = pairs(answer, 0)
        return found[0] if found else Change(self._state_key, None, revision)

    def _learn(self, state: Change, revision: int, when: float) -> bool:
        """Take note of the state at a revision, unless a later one is known; whether it is another than before."""
        with self._lock:
            if revision < self._state_known[0]:
                return False
            known, self._state = self._state, state
            self._state_known = (revision, max(when, self._state_known[1]))
            return known is None or (known.revision, known.value) != (state.revision, state.value)

    # --- entries ------------------------------------------------------------------------------------------

    def enter(self, id: str, entry: bytes) -> None:
        """Put up this node's entry, on a new lease where there is none; or replace it."""
        key = self._nodes.key + quote(id, safe="").encode()
        if self._stands and (self._mine, self._said) == (key, entry):
            return
        try:
            put = self._put(key, entry)
        except Refused as error:
            if error.code != NOT_FOUND:
                raise
            self._leases.lose(self._leases.node)
            put = self._put(key, entry)
        with self._lock:
            if put.created != self._born:
                self._leading, self._ahead, self._entries = False, None, None
            self._mine, self._said, self._born, self._stands = key, entry, put.created, True
            self._written = put.revision

    def _put(self, key: bytes, entry: bytes) -> Change:
        """Write an entry over what is known to be there: a write that is still on its way must not undo a later one."""
        lease, over = self._leases.hold(), self._written
        for _ in range(TRIES):
            answer = self._gateway.call("/v3/kv/txn", writing(key, entry, lease, over))
            if answer.get("succeeded"):
                return pairs(answer, 1)[0]
            found = pairs(answer, 0)
            if found and (found[0].value, found[0].lease) == (entry, lease):
                return found[0]
            over = found[0].revision if found else 0
        raise RendezvousConnectionError(f"somebody else keeps writing {key.decode()} in etcd")

    def held_since(self) -> float:
        """When the newest answered sign of life had been sent."""
        return self._leases.held_since if self._stands else NEVER

    def leads(self) -> bool:
        """Whether no entry is older. Once that is so it stays so, as long as this node's entry stands."""
        born = self._born
        if not self._stands:
            return False
        if self._leading:
            return True
        if self._ahead is not None and self._watcher.covering and self._fresh(self._ahead_known):
            return False
        sent = monotonic()
        wish: dict[str, Any] = {
            "max_create_revision": born - 1,
            "sort_order": "DESCEND",
            "sort_target": "CREATE",
            "limit": 1,
            "keys_only": True,
        }
        answer = self._range(self._nodes, wish)
        found = [written(pair) for pair in answer.get("kvs", ())]
        with self._lock:
            self._leading, self._ahead_known = not found, sent
            self._ahead = found[0].key if found else None
        if self._leading:
            self._load()
        self._follow(int(answer["header"]["revision"]))
        return self._leading

    def entries(self) -> Mapping[str, bytes]:
        """All entries, oldest first; from what the stream has told, where it stands and was checked not long ago."""
        if self._leading and self._entries is not None and self._watcher.covering:
            if not self._fresh(self._entries_known[1]):
                self._check()
        else:
            self._load()
        with self._lock:
            found = sorted((self._entries or {}).values(), key=lambda one: one.created)
        size = len(self._nodes.key)
        return {unquote(one.key[size:].decode()): one.value or b"" for one in found}

    def _load(self) -> None:
        """Read all entries."""
        sent = monotonic()
        answer = self._range(self._nodes, {})
        found = [written(pair) for pair in answer.get("kvs", ())]
        revision = int(answer["header"]["revision"])
        with self._lock:
            if revision >= self._entries_known[0] or self._entries is None:
                self._entries = {one.key: one for one in found}
                self._entries_known = (revision, sent)

    def _check(self) -> None:
        """Read the entries that have changed, if any; all, when their number shows that some are gone."""
        sent = monotonic()
        answer = self._range(self._nodes, {"min_mod_revision": self._entries_known[0] + 1})
        found = [written(pair) for pair in answer.get("kvs", ())]
        revision = int(answer["header"]["revision"])
        with self._lock:
            entries = {**(self._entries or {}), **{one.key: one for one in found}}
            whole = len(entries) == int(answer.get("count", 0)) and revision >= self._entries_known[0]
            if whole:
                self._entries, self._entries_known = entries, (revision, sent)
        if not whole:
            self._load()

    def withdraw(self) -> None:
        """Take this node's entry away; and the state with it, when no entry is left and nobody writes meanwhile."""
        with self._lock:
            self._stands, self._leading, self._ahead, self._entries = False, False, None, None
        self._leases.revoke()
        self._born = 0
        self._state_known = (self._state_known[0], NEVER)
        self._look()
        state = self._state
        if state is None or state.value is None:
            return
        nobody = {
            "key": text(self._nodes.key),
            "range_end": text(self._nodes.end),
            "target": "CREATE",
            "result": "EQUAL",
            "create_revision": 0,
        }
        delete = {"request_delete_range": {"key": text(self._state_key)}}
        compare = [nobody, self._unchanged(state.revision)]
        answer = self._gateway.call("/v3/kv/txn", {"compare": compare, "success": [delete]})
        if answer.get("succeeded"):
            revision = int(answer["header"]["revision"])
            self._learn(Change(self._state_key, None, revision), revision, monotonic())
            self._leases.revoke_state()

    # --- what the helper threads say ----------------------------------------------------------------------

    def _follow(self, revision: int = 0) -> None:
        """Have the stream tell of what this node needs to know, from what is known on.

        `revision` is that of the newest answer about entries.
        """
        state = Span(self._state_key)
        with self._lock:
            since = (self._state_known[0] or revision) + 1  # a state that was not read yet will be
            if self._leading:
                spans = {self._all: min(since, self._entries_known[0] + 1)}
            elif self._ahead is not None:
                spans = {state: since, Span(self._ahead): (revision or self._state_known[0]) + 1}
            else:
                spans = {state: since}
        self._watcher.follow(spans)

    def _heard(self, changes: Sequence[Change]) -> None:
        news = False
        for change in changes:
            if change.key == self._state_key:
                news |= self._learn(change, change.revision, NEVER)
            else:
                news |= self._heard_entry(change)
        if news:
            self._changed()

    def _heard_entry(self, change: Change) -> bool:
        """Take note of an entry; whether that matters to this node."""
        with self._lock:
            if not self._leading:
                if change.value is not None or change.key != self._ahead:
                    return False
                self._ahead = None
                return True
            if self._entries is None:
                return True
            if change.revision <= self._entries_known[0]:
                return False
            if change.value is None:
                self._entries.pop(change.key, None)
            else:
                self._entries[change.key] = change
            self._entries_known = (change.revision, self._entries_known[1])
            gone = change.value is None and change.key == self._mine
        if gone:
            self._leases.lose(self._leases.node)
        return True

    def _missed(self) -> None:
        """The stream has a gap: nothing that it told counts any more."""
        with self._lock:
            self._state_known = (self._state_known[0], NEVER)
            self._entries, self._ahead = None, None
        self._changed()

    def _ended(self) -> None:
        """This node's entry is gone. Swaps stay fenced by it: what was decided while it stood must not be written."""
        with self._lock:
            self._stands, self._leading, self._ahead, self._entries = False, False, None, None
        self._changed()

    def _tended(self) -> int:
        """The state's lease, where it is for this node to keep it."""
        state = self._state
        current = state.lease if state is not None else 0
        return current if self._leading or current == self._leases.state else 0

    def _fresh(self, when: float) -> bool:
        return monotonic() - when < self._leases.seconds / 2

    def _range(self, span: Span, wish: Mapping[str, Any]) -> dict[str, Any]:
        return self._gateway.call("/v3/kv/range", {"key": text(span.key), "range_end": text(span.end), **wish})
