"""The coordinator: applies membership changes for all nodes, on one connection each, and pushes what follows.

It runs in the thread that serves the job's one port, beside the store that workers meet at: each round gets a
store service of its own, so that no key of an earlier attempt can be read.  It trusts no clock but its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from launcher_core.hooks.ports import ATTACHED, Peer, Service, Store
from launcher_core.model.job import Node
from launcher_core.model.value import Value
from launcher_core.rules import proof
from launcher_core.rules import round as rounds
from launcher_core.rules.crowd import missing
from launcher_core.rules.protocol import MAGIC, MAX_ASKED, SIGNS, Frames, frame
from launcher_core.rules.ranks import Assign
from launcher_core.rules.round import Change, Dismiss, End, Limits, Outcome, Park, Phase, Round, Seat

MOST_REFUSALS = 20
"""Refused agents that the host's people are told of."""
REPLACED = "it has a newer connection"
WAITING_EVERY = 10.0
"""Seconds between two lines about a round that does not form."""
GREETING = 10.0
"""Seconds in which an agent has to say who it is, whatever else it sends."""
REASON = 2000
"""Letters of a reason, or of what is waited for, that are passed on."""


class Terms(Value):
    """What every member of the job is held to."""

    run_id: str
    limits: Limits
    master_addr: str = ""
    """The address that workers are given; the port is the server's. "": each node's is where it reached the host."""
    interval: float = 0.5
    """Seconds between two signs of life."""
    silence: float = 1.5
    """Seconds without a word from a node until it counts as lost."""
    token: bytes = b""
    """What every agent has to prove that it knows; b"": nothing."""


class Server(Protocol):
    """What the coordinator needs of the port that it is served at, and of time. See PortServer."""

    @property
    def port(self) -> int:
        """The port."""

    def call(self, function: Callable[[], object]) -> bool:
        """Have this run soon."""

    def call_at(self, when: float, function: Callable[[], object]) -> Any:
        """Have this run at that time; what it returns is taken by `cancel`."""

    def cancel(self, alarm: Any) -> None:
        """Take it back."""

    def replace(self, old: Service | None, new: Service) -> None:
        """Serve `new` instead of `old`."""


class Coordinator:
    """A Service of the job's port. Everything runs in the serving thread, but `members` may be read anywhere."""

    def __init__(
        self,
        server: Server,
        store: Store | None,
        terms: Terms,
        assign: Assign | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.clock = clock
        self._server = server
        self._store = store
        self._served: Service | None = None
        self._terms = terms
        self._assign = assign
        self._round = Round()
        self._sessions: dict[str, AgentSession] = {}
        self._deadline: Any = None
        self._opened = 0
        self.members = 0
        self.on_empty: Callable[[], None] = lambda: None
        """Called when the last member has gone."""
        self.on_refused: Callable[[str], None] = lambda text: None
        """Called with what people at the host should know of an agent that was refused."""
        self._refused: set[str] = set()
        server.call(self._every_so_often)

    def claims(self, first: bytes) -> bool:
        """Whether the connection opens like an agent's."""
        return first[:1] == MAGIC[:1]

    def open(self, peer: Peer) -> AgentSession:
        """A conversation with one agent."""
        return AgentSession(self, peer)

    # --- what sessions ask for --------------------------------------------------------------------------

    def challenge(self, nonce: str) -> bytes:
        """What an agent has to answer first."""
        return frame("challenge", nonce=nonce, token=bool(self._terms.token))

    def refusal(self, hello: dict[str, Any], nonce: str) -> str:
        """Why the agent that says this may not take part; "" when it may."""
        terms, run_id, theirs = self._terms, hello["run_id"], hello["nonce"]
        if terms.token:
            given = hello.get("proof")
            if given is None:
                return "the job's token is missing: set PET_RDZV_TOKEN, or --rdzv-conf token_file=PATH, as on the host"
            if not proof.holds(given, terms.token, "guest", run_id, nonce, theirs):
                return "the job's token is another one (PET_RDZV_TOKEN or --rdzv-conf token_file), or its --rdzv-id"
        if run_id == terms.run_id:
            return ""
        return f"another job runs here: its id is {terms.run_id!r}, not {run_id!r} (--rdzv-id)"

    def note_refusal(self, address: str, reason: str) -> None:
        """Have the host's people told, once for each address and reason, and not of very many."""
        host = address.rpartition(":")[0]
        text = f"an agent from {host or address} was refused: {reason}"
        if text not in self._refused and len(self._refused) < MOST_REFUSALS:
            self._refused.add(text)
            self.on_refused(text)

    def welcome(self, hello: dict[str, Any]) -> bytes:
        """The answer to an agent that may take part."""
        terms, nonce, shown = self._terms, "", ""
        if terms.token:
            nonce = os.urandom(8).hex()
            shown = proof.of(terms.token, "host", terms.run_id, hello["nonce"], nonce)
        return frame("welcome", silence=terms.silence, interval=terms.interval, nonce=nonce, proof=shown)

    def opened(self) -> int:
        """A number for a new conversation: a later one has a higher number."""
        self._opened += 1
        return self._opened

    def seen(self, session: AgentSession) -> bool:
        """Bind a node to its connection. Of two the older one is closed, and False given if it is this one.

        What was said on the older one is late: the node has broken with it, and gone on.
        """
        assert session.node is not None
        bound = self._sessions.get(session.node.id, session)
        if bound.number > session.number:
            session.drop(REPLACED)
            return False
        self._sessions[session.node.id] = session
        self.members = len(self._sessions)
        if bound is not session:
            bound.drop(REPLACED)
        return True

    def change(self, change: Change) -> None:
        """Apply one change and tell everybody concerned."""
        before = self._round.phase
        self._round, told = rounds.apply(self._round, change, self.clock(), self._terms.limits, self._assign)
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
        left = max(0.0, session.heard + self._terms.silence - self.clock())  # of the node's lease, at most
        self.change(rounds.Leave(session.node.id, reason, session.silent, left if session._peer.torn else 0.0))
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
        now = self.clock()
        if self._round.phase is Phase.GATHERING:
            word = self._waiting(now)
            for node in self._round.here:
                self._sessions[node.id].send(word)
        self._server.call_at(now + WAITING_EVERY, self._every_so_often)

    def _waiting(self, now: float) -> bytes:
        """How far a gathering round is."""
        round, limits = self._round, self._terms.limits
        left = None if round.deadline is None else round.deadline - now
        then = "" if left is None else "the round starts with these"
        detail = missing(round, limits)[:REASON]
        fields = {"have": len(round.here), "low": limits.low, "high": limits.high}
        return frame("waiting", detail=detail, seconds_left=left, then=then, **fields)

    def expire(self, session: AgentSession) -> None:
        """Drop a node that has been silent for too long; otherwise look again when it could be.

        In two looks: if this process was stopped meanwhile, what the node said is only read after the first.
        """
        if session.inside:
            return
        now, silence = self.clock(), self._terms.silence if session.welcome else GREETING
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
        self.number = coordinator.opened()
        self._magic = bytearray()
        self._frames = Frames(MAX_ASKED)
        self._nonce = ""
        self._over = False
        self._sign = b""
        self.welcome = False
        self._why_gone = "its connection broke"
        self.node: Node | None = None
        self.silent = True
        """Whether it is gone without having said so, so that its workers may still run for a moment."""
        self.heard = coordinator.clock()
        self.doubted = False
        self.alarm: Any = None
        self.inside = peer.address == ATTACHED
        """Whether the agent is in this very process, lives as long as this does, and gives no signs of it."""
        coordinator.expire(self)

    def receive(self, data: bytes) -> None:
        """Take the next bytes; raises ValueError on nonsense."""
        if self.welcome:
            self.heard = self._coordinator.clock()
            if data in SIGNS and self._frames.between:
                self._peer.send(data)
                return
        if len(self._magic) < len(MAGIC):
            need = len(MAGIC) - len(self._magic)
            self._magic += data[:need]
            data = data[need:]
            if not MAGIC.startswith(bytes(self._magic)):
                raise ValueError(f"not an agent of this version: {bytes(self._magic)!r}")
            if len(self._magic) == len(MAGIC):
                self._nonce = os.urandom(8).hex()
                self._peer.send(self._coordinator.challenge(self._nonce))
        self._sign = b""
        for message in self._frames.feed(data):
            if not self._over:
                self._take(message)
        if self._sign:
            self._peer.send(self._sign)

    def lost(self) -> None:
        """The connection is gone."""
        self._coordinator.forget(self)
        self._coordinator.gone(self, self._why_gone)

    def drop(self, reason: str) -> None:
        """End the conversation from this side."""
        self._why_gone, self._over = reason, True
        self._peer.close()

    def refuse(self, reason: str) -> None:
        """Send this agent away."""
        self._coordinator.note_refusal(self._peer.address, reason)
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
            more: dict[str, Any] = {"requeue": True} if outcome.requeue else {}
            if outcome.verdict is not None:
                more |= {"verdict": outcome.verdict, "settled": outcome.settled}
            if outcome.aftermath:
                more["aftermath"] = outcome.aftermath
            self._peer.send(frame("end", succeeded=outcome.succeeded, reason=outcome.reason, **more))

    def send(self, data: bytes) -> None:
        """Send what is the same for many."""
        self._peer.send(data)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if not self.welcome:
            self._hello(kind, message)
        elif kind == "ok":
            self._sign = frame("ok", n=message["n"])  # of several that have piled up, the last is answered
        elif kind in ("join", "resume"):
            node = Node(**message["node"])
            if self.node is not None and self.node.id != node.id:
                raise ValueError(f"{self.node.name} turned into {node.name}")
            self.node = node
            if not self._coordinator.seen(self):
                return
            resumes = kind == "resume"
            self._coordinator.change(rounds.Resume(node, message["round"]) if resumes else _join(node, message))
        elif kind == "leave":
            self.silent = False
            self.drop(message["reason"][:REASON])
        elif kind == "close":
            testimony, at = self._testified(message)
            requeue = bool(message.get("requeue"))
            self._coordinator.change(rounds.Close(message["reason"][:REASON], requeue, testimony, at))
        elif kind in ("failed", "testify", "finished") and self.node is not None:
            self._report(kind, self.node.id, message)
        else:
            raise ValueError(f"message {kind!r} is not known here")

    def _hello(self, kind: str, message: dict[str, Any]) -> None:
        if kind != "hello":
            raise ValueError(f"message {kind!r} came before hello")
        refusal = self._coordinator.refusal(message, self._nonce)
        if refusal:
            self.refuse(refusal)
            return
        self.welcome, self.heard, self.doubted = True, self._coordinator.clock(), False
        self._peer.send(self._coordinator.welcome(message))
        self._coordinator.forget(self)
        self._coordinator.expire(self)

    def _testified(self, message: dict[str, Any]) -> tuple[Any, float | None]:
        """A testimony, and when what it tells of happened, by the clock here; None, None without one."""
        told = message.get("testimony")
        return told, None if told is None else self._coordinator.clock() - told["age"]

    def _report(self, kind: str, id: str, message: dict[str, Any]) -> None:
        number = message["round"]
        testimony, at = self._testified(message)
        if kind == "failed":
            forgiven = message.get("forgiven") or 0
            self._coordinator.change(rounds.Failed(id, number, message["reason"][:REASON], forgiven, testimony, at))
        elif kind == "testify":
            self._coordinator.change(rounds.Known(id, number, testimony, at, message["told"]))
        else:
            self._coordinator.change(rounds.Finished(id, number))


def _join(node: Node, message: dict[str, Any]) -> rounds.Join:
    past = message.get("past")
    if past is None:
        return rounds.Join(node)
    from launcher_core.rules.recall import Past  # no first round wants it

    return rounds.Join(node, Past(*past))
