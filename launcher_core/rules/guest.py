"""An agent's end of the conversation with the coordinator. Sans-IO: bytes and times come in, bytes and news go out.

    APART --connected--> GREETING --welcome--> HEARD --broke, lease over--> APART ... --host_loss--> Trouble

The lease is what keeps a node that is cut off from disturbing the others: a sign of life that the coordinator has
answered proves that it counts this node as alive for `silence` seconds from when the sign was sent. When that is
over, the workers must be gone before the others begin without them, so they are killed and not asked. A node that waits
has no workers: it is more patient with a host that has thousands to answer, but takes no place when its lease is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from launcher_core.errors import HostLostError, RendezvousConnectionError, RendezvousTimeoutError, UsageError
from launcher_core.model.job import Node, Place
from launcher_core.model.news import Cut, Formed, News, Over, Regroup, Waiting
from launcher_core.model.value import Value
from launcher_core.rules import proof
from launcher_core.rules.protocol import MAGIC, SIGNS, Frames, frame

NEVER = float("inf")
SIGN = tuple(SIGNS)
"""Signs of life by number; the lease is over long before a number comes again."""
GIVES_UP = "this node gives up"
ANSWER_WITHIN = 10.0
"""Seconds in which a host answers a greeting; after that another connection is tried."""
MOST_KNOWN = 7
"""Testimonies that are kept beside the newest until they are asked for."""
REASON = 2000
"""The most letters of a reason that are sent."""


class Where(Value):
    """Whom to talk to and for how long; times in seconds."""

    host: str
    port: int
    run_id: str
    low: int = 1
    high: int = 1
    join_timeout: float = 600.0
    interval: float = 0.5
    """Between two signs of life."""
    silence: float = 1.5
    """Without an answer for so long this node counts as lost."""
    host_loss: float = 4.5
    """Without a host for so long the job is over for this node."""
    token: bytes = b""

    def __str__(self) -> str:
        """As people write it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Stage(Enum):
    """How far the conversation is."""

    APART = "apart"
    GREETING = "greeting"
    HEARD = "heard"
    ENDED = "ended"


class Guest:
    """One agent's side. Not shared: whoever calls `connected` and `receive` calls everything else, too."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self.stage = Stage.APART
        self.outbox = bytearray()
        """Bytes to send, to be taken out by whoever sends them."""
        self.address = where.host
        """Where this node reaches the host, for its workers."""
        self.last_word = "too few nodes came (--nnodes)"
        self.join_by = NEVER
        self._nonce = ""
        self._turned_away = False
        """Whether a connection was closed before anybody had shown to be the host."""
        self._frames = Frames()
        self._node: Node | None = None
        self._waits = False
        """Whether a place was asked for and not given yet."""
        self._place: Place | None = None
        self._restarts = 0
        """How many this node knows to be spent."""
        self._report: bytes = b""
        """What was said of the place and not answered yet."""
        self._knows: list[tuple[float, int, Mapping[str, Any] | None, str]] = []
        """What this node has testified and not sent yet: when, of which round, what, and what became of its workers."""
        self._asked = False
        """Whether the job is over, and the nodes are asked what they know of it."""
        self._known = False
        """Whether this host has ever answered."""
        self._signs: dict[int, float] = {}
        """Signs of life without an answer, and when they were sent."""
        self._count = 0
        self._next_sign = NEVER
        self._inside = False
        self._greeted_at = 0.0
        self._asked_at = 0.0
        """When the newest question for a place was sent."""
        self._alive_at = NEVER
        """When the newest sign that was answered had been sent."""
        self._give_up = NEVER
        self._answer_by = NEVER
        """Until when a greeting is waited for."""

    @property
    def known(self) -> bool:
        """Whether whoever listens at the endpoint has shown that it is the coordinator of this job."""
        return self._known

    @property
    def _patience(self) -> float:
        """How long one greeting is waited for: a host that was there gets two attempts before it counts as lost."""
        return min(ANSWER_WITHIN, self.where.host_loss / 2) if self._known else ANSWER_WITHIN

    @property
    def _patient_until(self) -> float:
        """Without an answer until then the connection is given up: in time to try another before the host is lost."""
        silence = self.where.silence
        patience = min(2 * silence, (silence + self.where.host_loss) / 2)
        return self._alive_at + (patience if self._waits else silence)

    @property
    def alarm(self) -> float:
        """When `tick` is wanted."""
        lease = self._patient_until if self.stage is Stage.HEARD else NEVER
        answer = self._answer_by if self.stage is Stage.GREETING else NEVER
        return min(self._next_sign, lease, answer, self._give_up, self.join_by)

    # --- what the agent asks for ------------------------------------------------------------------------

    def join(self, node: Node, now: float) -> None:
        """Ask for a place in the next round; asked again by itself after a break."""
        self._node, self._waits, self._report, self._knows = node, True, b"", []
        self.join_by = now + self.where.join_timeout
        self._send(self._request(now))

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """Report a failure, with what was testified of it; the answer is Regroup or Over."""
        more = {"forgiven": forgiven} if forgiven else {}
        self._send(frame("failed", round=round, reason=reason[:REASON], **more, **self._testified()))

    def testify(self, round: int, testimony: Mapping[str, Any] | None, told: str, now: float) -> None:
        """Have others know what this node knows of a failure: with the report of it, or when they ask."""
        self._knows = [*self._knows[-MOST_KNOWN:], (now, round, testimony, told)]
        if self._asked:
            self._answer_what_is_known(now)

    def _testified(self) -> dict[str, Any]:
        """The newest testimony that has not been sent, of a round that is over with that."""
        knows, self._knows = self._knows, []
        return {"testimony": knows[-1][2]} if knows else {}

    def finished(self, round: int) -> None:
        """Report success; said again after a break. The answer is Over or Regroup."""
        self._report = frame("finished", round=round)
        self._send(self._report)

    def leave(self, reason: str) -> None:
        """Go away."""
        self._waits = False
        self._send(frame("leave", reason=reason[:REASON]))

    def end_job(self, reason: str, *, requeue: bool = False) -> None:
        """End the job as failed for everybody; the answer is Over."""
        more = {"requeue": True} if requeue else {}
        self._send(frame("close", reason=reason[:REASON], **more, **self._testified()))

    # --- what happens to the connection -----------------------------------------------------------------

    def connected(self, now: float, address: str = "", *, inside: bool = False) -> None:
        """There is a new connection, to that address; `inside` this process, where no signs of life are needed."""
        self._inside = inside
        self._answer_by = now + self._patience
        self.stage = Stage.GREETING
        self.address = address or self.where.host
        self._frames = Frames()
        self.outbox = bytearray(MAGIC)

    def receive(self, data: bytes, now: float, nonce: str = "") -> list[News]:
        """The news in these bytes; `nonce` is a random text, used once. Raises what the launch ends with.

        What comes when the connection is given up was meant for a node that the others count as lost: it is not read.
        """
        news = self.tick(now)
        if self.stage in (Stage.APART, Stage.ENDED):
            return news
        if data in SIGNS and self._frames.between:
            self._answered(SIGNS[data])
            return news
        for message in self._frames.feed(data):
            told = self._take(message, now, nonce)
            if told is not None:
                news.append(told)
        return news

    def broke(self, why: str, now: float) -> list[News]:
        """The connection is gone: what that means for the workers. Raises when it never was one, on two of them.

        The first may have led to a host that died before it answered.
        """
        if self.stage in (Stage.APART, Stage.ENDED):
            return []
        heard = self.stage is Stage.HEARD
        if self._known:
            self._give_up = min(self._give_up, now + self.where.host_loss)
        elif self._turned_away:
            raise RendezvousConnectionError(self.no_agent(why))
        self._turned_away = True
        self._next_sign = NEVER
        self.stage = Stage.APART
        self.outbox.clear()
        self._signs.clear()
        return [] if not heard else [Cut(f"this node was cut off from the host at {self.where}: {why}")]

    def tick(self, now: float) -> list[News]:
        """Send a sign of life when it is time; raises when the time for a round or for a host is over."""
        if now >= self._give_up:
            self._give_up = NEVER
            raise HostLostError(self._host_is_lost())
        if now >= self.join_by:
            self.join_by = NEVER
            if not self._known:
                raise RendezvousConnectionError(self.no_agent(f"nothing in {self.where.join_timeout:g} s"))
            raise RendezvousTimeoutError(self._too_late())
        if self.stage is Stage.GREETING and now >= self._answer_by:
            return self._unanswered(now)
        if self.stage is not Stage.HEARD:
            return []
        if now >= self._patient_until:
            return self._lease_is_over(self._patient_until - self._alive_at, now)
        if now >= self._next_sign:
            self._sign(now)
        return []

    def _lease_is_over(self, seconds: float, now: float) -> list[News]:
        self._give_up = self._alive_at + self.where.host_loss
        return self.broke(f"nothing was heard of it for {seconds:g} s", now)

    def _unanswered(self, now: float) -> list[News]:
        """Give this connection up: who answers on none of them is told apart by `join_by` and `host_loss`."""
        self.stage = Stage.APART
        self.outbox.clear()
        if not self._waits:
            return []
        text = f"{self.where} takes connections, and did not answer in {self._patience:g} s; trying again"
        left = min(self.join_by, self._give_up) - now
        return [Waiting(0, self.where.low, self.where.high, text, left, GIVES_UP)]

    # --- messages ---------------------------------------------------------------------------------------

    def _take(self, message: dict[str, Any], now: float, nonce: str) -> News | None:
        kind = message.pop("type")
        if kind == "challenge":
            self._answer(message, now, nonce)
        elif kind == "welcome":
            self._welcomed(message, now)
        elif kind == "refused":
            raise UsageError(f"{self.where} refused this agent: {message['reason']}")
        elif kind == "ok":
            self._answered(message["n"])
        elif self.stage is Stage.HEARD:
            return self._told(kind, message, now)
        return None

    def _told(self, kind: str, message: dict[str, Any], now: float) -> News | None:
        if kind == "seat":
            self._alive_at = max(self._alive_at, self._asked_at)  # which the place is the answer to
            if now >= self._alive_at + self.where.silence:
                return next(iter(self._lease_is_over(self.where.silence, now)), None)
            self._waits, self.join_by = False, NEVER
            message["master_addr"] = message["master_addr"] or self.address
            self._place, self._restarts = Place(**message), message["restarts"]
            return Formed(self._place)
        if kind == "dismiss":
            self._report = b""
            message["restarts"] = self._restarts = max(self._restarts, message["restarts"])
            return Regroup(**message)
        if kind == "park":
            self.join_by = NEVER
            return Waiting(self.where.high, self.where.low, self.where.high, "the job is full; this node is a spare")
        if kind == "waiting":
            self.last_word = message["detail"]
            if self._waits and self.join_by == NEVER:  # it was a spare, and now the job is short of nodes
                self.join_by = now + self.where.join_timeout
            told = Waiting(**message)
            if told.seconds_left is None and self.join_by != NEVER:
                return told._replace(seconds_left=self.join_by - now, then=GIVES_UP)
            return told
        return self._ended(message, now) if kind == "end" else None

    def _ended(self, message: dict[str, Any], now: float) -> Over:
        self.join_by, self._waits, self._report = NEVER, False, b""
        message = {name: value for name, value in message.items() if value is not None}
        over = Over(**{**message, "aftermath": tuple((name, told) for name, told in message.get("aftermath", ()))})
        if over.settled:
            self.stage, self._next_sign = Stage.ENDED, NEVER
        else:
            self._asked = True
            self._answer_what_is_known(now)
        return over

    def _answer_what_is_known(self, now: float) -> None:
        for said_at, round, testimony, told in self._knows:
            aged = testimony and {**testimony, "age": testimony["age"] + now - said_at}
            self._send(frame("testify", round=round, testimony=aged, told=told))
        self._knows = []

    def _answer(self, challenge: Mapping[str, Any], now: float, nonce: str) -> None:
        """Say who this is; without a token that the host asks for, too, so that it is refused by name on both sides."""
        where = self.where
        if where.token and not challenge["token"]:
            raise UsageError(
                f"{where} asks for no token, and this agent has one: start all agents with the same PET_RDZV_TOKEN"
            )
        self._nonce, self._greeted_at = nonce, now
        fields = {"run_id": where.run_id, "nonce": nonce}
        if where.token:
            fields["proof"] = proof.of(where.token, "guest", where.run_id, challenge["nonce"], nonce)
        self.outbox += frame("hello", **fields)

    def _welcomed(self, welcome: Mapping[str, Any], now: float) -> None:
        where = self.where
        if where.token and not proof.holds(
            str(welcome.get("proof")), where.token, "host", where.run_id, self._nonce, str(welcome.get("nonce"))
        ):
            raise UsageError(f"{where} does not know this job's token: it is not the host, or has another one")
        # The host counts by its own terms, so the lease has to be reckoned by them, too.
        silence, interval = float(welcome["silence"]), float(welcome["interval"])
        self.where = where._replace(silence=silence, interval=interval, host_loss=max(where.host_loss, 2 * silence))
        self.stage, self._known, self._give_up = Stage.HEARD, True, NEVER
        self._alive_at = self._greeted_at
        if self._inside:
            self._alive_at = NEVER
        else:
            self._sign(now)
        if self._waits:
            self.outbox += self._request(now)
        elif self._node is not None and self._report and self._place is not None:
            self.outbox += frame("resume", node=self._node._asdict(), round=self._place.round)

    def _answered(self, number: int) -> None:
        self._alive_at = self._signs.pop(number, self._alive_at)

    def _sign(self, now: float) -> None:
        self._count = (self._count + 1) % len(SIGN)
        self._signs[self._count] = now
        self._next_sign = now + self.where.interval
        self._send(SIGN[self._count])

    def _request(self, now: float) -> bytes:
        """The question for a place, with what a host that is new needs to know of the job so far."""
        assert self._node is not None
        self._asked_at = now
        last = self._place
        past = None if last is None else (last.round, self._restarts, last.group_rank, last.group_world_size)
        return frame("join", node=self._node._asdict(), past=past)

    def _send(self, data: bytes) -> None:
        if self.stage is Stage.HEARD:
            self.outbox += data

    # --- words ------------------------------------------------------------------------------------------

    def no_agent(self, detail: str) -> str:
        """What to do about a peer that never said it is an agent."""
        return (
            f"what listens at {self.where} does not answer as an agent does ({detail}); end it, or correct "
            "--rdzv-endpoint"
        )

    def _host_is_lost(self) -> str:
        return (
            f"the node that hosts the job at {self.where} is gone: its agent died, was killed, or lost this node; "
            f"nothing answered for {self.where.host_loss:g} s (--rdzv-conf host_loss_timeout)"
        )

    def _too_late(self) -> str:
        return f"no round formed within {self.where.join_timeout:g} s (--rdzv-conf join_timeout): {self.last_word}"
