"""The coordinator: applies membership changes for all nodes, on one connection each, and pushes what follows.

It runs in the thread that serves the job's one port, beside the store that workers meet at: each round gets a
store service of its own, so that no key of an earlier attempt can be read.  It trusts no clock but its own.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from launcher_core.hooks.ports import Peer, Service, Store
from launcher_core.model.job import Node
from launcher_core.rules import round as rounds
from launcher_core.rules.protocol import MAGIC, Frames, frame
from launcher_core.rules.round import Assign, Change, Dismiss, End, Limits, Outcome, Park, Phase, Round, Seat
from launcher_core.runtime.serving import PortServer

WAITING_EVERY = 10.0
"""Seconds between two lines about a round that does not form."""


class Terms(NamedTuple):
    """What every member of the job is held to."""

    run_id: str
    limits: Limits
    master_addr: str
    """The address that workers are given; the port is the server's."""
    silence: float
    """Seconds without a word from a node until it counts as lost."""


class Coordinator:
    """A Service of the job's port. Everything runs in the serving thread, but `members` may be read anywhere."""

    def __init__(self, server: PortServer, store: Store | None, terms: Terms, assign: Assign | None = None) -> None:
        self._server = server
        self._store = store
        self._served: Service | None = None
        self._terms = terms
        self._assign = assign
        self._round = Round()
        self._sessions: dict[str, AgentSession] = {}
        self._deadline: Any = None
        self.members = 0
        self.on_empty: Callable[[], None] = lambda: None
        """Called when the last member has gone."""
        server.call(self._every_so_often)

    def claims(self, first: bytes) -> bool:
        """Whether the connection opens like an agent's."""
        return first[:1] == MAGIC[:1]

    def open(self, peer: Peer) -> AgentSession:
        """A conversation with one agent."""
        return AgentSession(self, peer)

    # --- what sessions ask for --------------------------------------------------------------------------

    def refusal(self, run_id: object) -> str:
        """Why an agent of that job may not take part; "" when it may."""
        if run_id == self._terms.run_id:
            return ""
        return f"another job runs here: its id is {self._terms.run_id!r}, not {run_id!r} (--rdzv-id)"

    @property
    def welcome(self) -> bytes:
        """The first answer to an agent that may take part."""
        return frame("welcome", silence=self._terms.silence)

    def seen(self, session: AgentSession) -> None:
        """Bind a node to its connection; a second connection of the same node replaces the first."""
        assert session.node is not None
        self._sessions[session.node.id] = session
        self.members = len(self._sessions)

    def change(self, change: Change) -> None:
        """Apply one change and tell everybody concerned."""
        before = self._round.phase
        self._round, told = rounds.apply(self._round, change, monotonic(), self._terms.limits, self._assign)
        if self._round.phase is Phase.RUNNING and before is not Phase.RUNNING:
            self._serve_anew()
        for outcome in told:
            session = self._sessions.get(outcome.to)
            if session is not None:
                session.tell(outcome, self._terms, self._server.port)
        self._set_deadline()

    def gone(self, session: AgentSession, reason: str) -> None:
        """Take a node out whose connection has ended."""
        if session.node is None or self._sessions.get(session.node.id) is not session:
            return
        del self._sessions[session.node.id]
        self.members = len(self._sessions)
        self.change(rounds.Leave(session.node.id, reason))
        if not self._sessions:
            self.on_empty()

    # --- time -------------------------------------------------------------------------------------------

    def _set_deadline(self) -> None:
        if self._deadline is not None:
            self._server.cancel(self._deadline)
            self._deadline = None
        if self._round.deadline is not None:
            self._deadline = self._server.call_at(self._round.deadline, self._last_call_ended)

    def _last_call_ended(self) -> None:
        self._deadline = None
        self.change(rounds.Tick())

    def _every_so_often(self) -> None:
        now = monotonic()
        if self._round.phase is Phase.GATHERING:
            for node in self._round.here:
                self._sessions[node.id].waiting(self._round, self._terms.limits, now)
        self._server.call_at(now + WAITING_EVERY, self._every_so_often)

    def expire(self, session: AgentSession) -> None:
        """Drop a node that has been silent for too long; otherwise look again when it could be.

        In two looks: if this process was stopped meanwhile, what the node said is only read after the first.
        """
        now, silence = monotonic(), self._terms.silence
        due = session.heard + silence * 2 / 3
        if now >= due and session.doubted:
            session.drop(f"nothing was heard of it for {silence:g} seconds")
            return
        session.doubted = now >= due
        look = now + silence / 3 if session.doubted else due
        session.alarm = self._server.call_at(look, lambda: self.expire(session))

    def forget(self, session: AgentSession) -> None:
        """Take the session's alarm back."""
        if session.alarm is not None:
            self._server.cancel(session.alarm)

    # --- the workers' store -----------------------------------------------------------------------------

    def _serve_anew(self) -> None:
        if self._store is None:
            return
        fresh = self._store.serve()
        self._server.replace(self._served, fresh)
        self._served = fresh


class AgentSession:
    """The coordinator's end of one agent's connection."""

    def __init__(self, coordinator: Coordinator, peer: Peer) -> None:
        self._coordinator = coordinator
        self._peer = peer
        self._magic = bytearray()
        self._frames = Frames()
        self._welcome = False
        self._why_gone = "its connection broke"
        self.node: Node | None = None
        self.heard = monotonic()
        self.doubted = False
        self.alarm: Any = None
        coordinator.expire(self)

    def receive(self, data: bytes) -> None:
        """Take the next bytes; raises ValueError on nonsense."""
        self.heard = monotonic()
        if len(self._magic) < len(MAGIC):
            need = len(MAGIC) - len(self._magic)
            self._magic += data[:need]
            data = data[need:]
            if not MAGIC.startswith(bytes(self._magic)):
                raise ValueError(f"not an agent of this version: {bytes(self._magic)!r}")
        for message in self._frames.feed(data):
            self._take(message)

    def lost(self) -> None:
        """The connection is gone."""
        self._coordinator.forget(self)
        self._coordinator.gone(self, self._why_gone)

    def drop(self, reason: str) -> None:
        """End the conversation from this side."""
        self._why_gone = reason
        self._peer.close()

    def refuse(self, reason: str) -> None:
        """Send this agent away."""
        self._peer.send(frame("refused", reason=reason))
        self.drop("it was refused")

    def tell(self, outcome: Outcome, terms: Terms, port: int) -> None:
        """Send an outcome."""
        if isinstance(outcome, Seat):
            place = outcome._asdict()
            del place["to"]
            address = {"master_addr": terms.master_addr, "master_port": port}
            self._peer.send(frame("seat", **place, **address))
        elif isinstance(outcome, Dismiss):
            fields = outcome._asdict()
            del fields["to"]
            self._peer.send(frame("dismiss", **fields))
        elif isinstance(outcome, Park):
            self._peer.send(frame("park"))
        elif isinstance(outcome, End) and outcome.refused:
            self.refuse(outcome.reason)
        elif isinstance(outcome, End):
            self._peer.send(frame("end", succeeded=outcome.succeeded, reason=outcome.reason))

    def waiting(self, round: Round, limits: Limits, now: float) -> None:
        """Send how far a gathering round is."""
        left = None if round.deadline is None else round.deadline - now
        detail = rounds.missing(round, limits)
        fields = {"have": len(round.here), "low": limits.low, "high": limits.high}
        self._peer.send(frame("waiting", detail=detail, seconds_left=left, **fields))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if not self._welcome:
            self._hello(kind, message)
        elif kind == "join":
            self.node = _node(message["node"])
            self._coordinator.seen(self)
            self._coordinator.change(rounds.Join(self.node))
        elif kind == "alive":
            pass
        elif kind == "leave":
            self.drop(_text(message, "reason"))
        elif kind == "close":
            self._coordinator.change(rounds.Close(_text(message, "reason")))
        elif kind in ("failed", "finished") and self.node is not None:
            self._report(kind, self.node.id, message)
        else:
            raise ValueError(f"message {kind!r} is not known here")

    def _hello(self, kind: str, message: dict[str, Any]) -> None:
        if kind != "hello":
            raise ValueError(f"message {kind!r} came before hello")
        refusal = self._coordinator.refusal(message.get("run_id"))
        if refusal:
            self.refuse(refusal)
            return
        self._welcome = True
        self._peer.send(self._coordinator.welcome)

    def _report(self, kind: str, id: str, message: dict[str, Any]) -> None:
        number = message.get("round")
        if not isinstance(number, int):
            raise ValueError(f"round {number!r} is not a number")
        if kind == "failed":
            self._coordinator.change(rounds.Failed(id, number, _text(message, "reason")))
        else:
            self._coordinator.change(rounds.Finished(id, number))


def _text(message: dict[str, Any], key: str) -> str:
    return str(message.get(key, ""))[:2000]


def _node(fields: Any) -> Node:
    try:
        node = Node(**fields)
    except TypeError as error:
        raise ValueError(f"not a node: {fields!r}") from error
    texts = isinstance(node.id, str) and isinstance(node.name, str) and isinstance(node.role, str)
    size = isinstance(node.local_world_size, int) and node.local_world_size > 0
    rank = node.node_rank is None or (isinstance(node.node_rank, int) and node.node_rank >= 0)
    if not (texts and size and rank):
        raise ValueError(f"not a node: {fields!r}")
    return node
