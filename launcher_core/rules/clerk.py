"""One node's end of a rendezvous over a shared register. Sans-IO: calls to the backend are yielded, not made.

Each node folds its own word into the Round and swaps; a lost swap starts over. Where the backend keeps an entry for
each node, a node's word is in its entry, and the node with the oldest one folds them all: a thousand nodes that
arrive at once then cost a thousand entries and a few swaps, not a thousand swaps of which all but one are lost.

Clocks are never compared: a sign of life is a counter (or a lease that the backend reckons), and who watches it
measures how long it has stood still. A node whose signs of life no longer get through kills its workers when a quarter
of the time is left after which the others count it as lost: so no two rounds ever run at once.
"""

from collections.abc import Callable, Generator, Mapping, Sequence, Set
from typing import Any

from launcher_core.model.job import Node, Place
from launcher_core.model.news import Cut, Formed, News, Over, Regroup, Waiting
from launcher_core.rules import round as rounds
from launcher_core.rules.crowd import missing
from launcher_core.rules.doubt import Doubts
from launcher_core.rules.hearing import Hearing
from launcher_core.rules.ranks import Assign
from launcher_core.rules.register import (
    Address,
    Call,
    Errand,
    Register,
    Terms,
    Word,
    changes_of,
    decode,
    decode_word,
    encode,
    encode_word,
    lasts,
    members,
    must_host,
    news_in,
    next_word,
    seat_of,
    was_set,
)
from launcher_core.rules.round import Change, Phase, Round

NEVER = float("inf")
WAITING_EVERY = 10.0
VANISHED = "the shared state has vanished"
LAZY = 4.0
"""Seconds until what nobody waits for is written: who has come so far, for people to read."""
BEATS = 4
"""Signs of life within the time after which a node is lost; as a share of it also what is left for a cut-off node."""


class Clerk:
    """One node's side. Not shared: whoever calls one of its methods, or runs an errand, holds the rest, too."""

    def __init__(self, terms: Terms, assign: Assign | None = None, *, leased: bool = False) -> None:
        """`leased`: whether the backend keeps an entry for each node."""
        self.terms = terms
        self.leased = leased
        self.ended = False
        """Whether the job is over for this node."""
        self._assign = assign
        self._word: Word | None = None
        self._waits = False
        """Whether a place was asked for and not given yet."""
        self._unsaid = False
        """Whether this node's word is to be said again, which nobody will ask for."""
        self._is_spare = False
        """Whether the round that runs is known to have no place for this node."""
        self._place: Place | None = None
        self._past: dict[str, Any] = {}
        self._join_by = NEVER
        self._next_line = NEVER
        self._beats = 0
        self._next_beat = NEVER if leased else -NEVER
        self._lazy_until = NEVER
        self._last_call: tuple[float, float, float] | None = None
        """The round's date, since when that is known, and for how long it lasts."""
        self._testimony: Mapping[str, Any] | None = None
        self._asked = False
        """Whether the job is over, and the nodes are asked what they know of it."""
        self._doubts = Doubts(terms.lease, leased=leased)
        self._hearing = Hearing(terms.lease, terms.lease / BEATS)
        self._known: dict[str, tuple[bytes, Word]] = {}
        self._read_last: tuple[bytes, Register] | None = None
        self._draft: tuple[Register, Register] | None = None
        """A register as it was read, and what was made of it and not written yet."""
        self._entered = b""
        """What this node's entry was last made to say."""
        self._led = False
        self._held = -NEVER
        """When this node gave its newest sign of life, where the backend does not say."""

    @property
    def me(self) -> str:
        """This node's id; "" before it has asked for anything."""
        return "" if self._word is None else self._word.node.id

    @property
    def holds(self) -> bool:
        """Whether this node's workers may run."""
        return self._place is not None

    @property
    def alarm(self) -> float:
        """When there is something to do though nothing has happened."""
        last_call = NEVER if self._last_call is None else self._last_call[1] + self._last_call[2]
        soon = -NEVER if self._unsaid else self._doubts.until + self._hearing.deaf
        return min(soon, self._join_by, self._next_line, self._next_beat, self._lazy_until, last_call)

    # --- what the agent asks for ------------------------------------------------------------------------

    def join(self, node: Node, now: float) -> None:
        """Ask for a place in the next round."""
        self._place, self._waits, self._is_spare, self._testimony = None, True, False, None
        self._join_by, self._next_line = now + self.terms.join_timeout, now + WAITING_EVERY
        self._say("join", node, **self._past)

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """Report a failure; the answer is Regroup or Over."""
        self._say("failed", round=round, restarts=forgiven, reason=reason, testimony=self._testimony)
        self._testimony = None

    def testify(self, round: int, testimony: Mapping[str, Any] | None, told: str) -> None:
        """Have others know what this node knows of a failure: with the report of it, or when they ask."""
        if self._asked:
            self._say("known", round=round, testimony=testimony, told=told)
        else:
            self._testimony = testimony

    def finished(self, round: int) -> None:
        """Report success; the answer is Over or Regroup."""
        self._say("finished", round=round)

    def leave(self, reason: str) -> None:
        """Go away; the job may go on without this node. That it had finished is said again: nobody may have read it."""
        done = self._word.round if self._word is not None and self._word.say == "finished" else -1
        self._place, self._waits = None, False
        self._say("leave", round=done, reason=reason)

    def end_job(self, reason: str, *, requeue: bool = False) -> None:
        """End the job as failed for everybody; the answer is Over."""
        self._say("requeue" if requeue else "close", reason=reason, testimony=self._testimony)

    def lapse(self, now: float, held_since: float | None = None) -> list[News]:
        """Cut, when this node's newest sign of life is so old that the others will soon begin without it.

        `held_since` is what the backend says, where it keeps entries.
        """
        done = self._word is not None and self._word.say == "finished"  # nothing is left that could do harm
        if self._place is None or done or now < self.lapses_at(held_since):
            return []
        self._place = None
        silence = self.terms.lease * (BEATS - 1) / BEATS
        return [Cut(f"this node was cut off from {self.terms.where}: no sign of life got through for {silence:g} s")]

    def lapses_at(self, held_since: float | None = None) -> float:
        """Until when workers may run, on the strength of a sign of life that was given then."""
        return (self._held if held_since is None else held_since) + self.terms.lease * (BEATS - 1) / BEATS

    # --- errands to the backend -------------------------------------------------------------------------

    def sync(self, now: float, serve: Callable[[int], Address]) -> Errand:
        """See to it that what this node has to say is known, and what it has to write for others written.

        `serve` returns where the workers of a round meet, once this node has its rank 0.
        """
        yield from self._enter()
        self._unsaid = False
        register, token = self._found((yield Call("get_state")))
        yield from self._answer(register)
        leads = self.leased and (yield Call("leads"))
        entries: Mapping[str, bytes] = (yield Call("entries")) if leads else {}
        fresh = register
        if not self.leased:
            fresh = self._fold(register, now)
        elif leads:
            folded = self._fold_all(register, entries, now)
            fresh = folded if self._matters(register, folded, now) else register
        renewed = leads and not self._led  # what the one that led before wrote may end with it
        self._led = leads
        if must_host(fresh, self.me):
            fresh = fresh._replace(address=serve(fresh.round.number))
        if fresh == register and not renewed:
            return register
        if not was_set((yield Call("set_state", (encode(fresh), token)))):
            return None
        if fresh.beats.get(self.me) != register.beats.get(self.me):
            self._held, self._next_beat = now, now + self.terms.lease / BEATS
        return fresh

    def depart(self, now: float) -> Errand:
        """Say this node's last word, and take away what it has put up."""
        register, token = self._found((yield Call("get_state")))
        fresh = self._with_last_word(register, now)
        if not self.leased:
            beats = {id: count for id, count in fresh.beats.items() if id != self.me}
            fresh = fresh._replace(beats=beats) if beats else Register()  # the last one leaves nothing behind
        if fresh != register and not was_set((yield Call("set_state", (encode(fresh), token)))):
            return None
        if self.leased:
            yield Call("withdraw")
        return fresh

    def _found(self, answer: tuple[bytes, Any] | None) -> tuple[Register, Any]:
        if answer is None:
            return Register(), None
        if self._read_last is None or self._read_last[0] != answer[0]:
            self._read_last = answer[0], decode(answer[0])
        return self._read_last[1], answer[1]

    def _enter(self) -> Generator[Call, Any, None]:
        """See to it that this node's entry stands and says its newest word."""
        if not self.leased or self._word is None:
            return
        gone = self._entered != b"" and (yield Call("held_since")) == -NEVER
        if gone and not self._speaks:
            return  # its workers are being killed; then the agent asks again
        if gone:
            self._renew()
        entry = encode_word(self._word)
        if gone or entry != self._entered:
            yield Call("enter", (self.me, entry))
            self._entered = entry

    def _answer(self, register: Register) -> Generator[Call, Any, None]:
        """Show that this node lives, when that is asked."""
        if self.leased and self._word is not None and register.ask > self._word.answer:
            self._word = self._word._replace(answer=register.ask)
            yield from self._enter()

    @property
    def _speaks(self) -> bool:
        """Whether this node's word still stands when others have forgotten it: not one that was granted already."""
        return self._word is not None and (self._waits or self._word.say != "join")

    def _renew(self) -> None:
        """Say the same again, because what others made of it is gone."""
        assert self._word is not None
        self._unsaid = True
        self._word = self._word._replace(count=self._word.count + 1)

    def _fold(self, register: Register, now: float) -> Register:
        """The register with this node's word and sign of life in it; each node does so for itself."""
        assert self._word is not None
        words = [self._word] if self._speaks else []
        register = self._taken_in(register, words, self._hearing.living(register.beats, now) | {self.me}, now)
        known = members(register.round)
        beats = {id: count for id, count in register.beats.items() if id in known}
        if now >= self._next_beat or self.me not in register.beats:
            self._beats += 1  # never again one that somebody has seen before
        beats[self.me] = self._beats
        return register._replace(beats=beats)

    def _fold_all(self, register: Register, entries: Mapping[str, bytes], now: float) -> Register:
        """The register with every word in it, as the node writes it that leads."""
        self._known = {id: self._read(id, entry) for id, entry in entries.items()}
        begun = register if self._draft is None or self._draft[0] is not register else self._draft[1]
        fresh = self._taken_in(begun, [word for _, word in self._known.values()], entries.keys(), now)
        self._draft = register, fresh
        return fresh

    def _with_last_word(self, register: Register, now: float) -> Register:
        word = self._word
        if word is None or word.say == "join" or self.ended or word.count <= register.heard.get(self.me, 0):
            return register  # who goes asks for no place any more
        round = register.round
        for change in changes_of(word):
            round = self._applied(round, change, now)
        return register._replace(round=round, heard={**register.heard, self.me: word.count})

    def _matters(self, old: Register, new: Register, now: float) -> bool:
        """Whether what was folded is worth a swap already: who has come is only written every now and then."""
        if new != old and news_in(old) == news_in(new):
            self._lazy_until = min(self._lazy_until, now + LAZY)
            if now < self._lazy_until:
                return False
        self._lazy_until = NEVER
        return new != old

    def _taken_in(self, register: Register, words: Sequence[Word], living: Set[str], now: float) -> Register:
        if register.round.phase is Phase.OVER and living.isdisjoint(members(register.round)):
            register = Register()  # that was another job: nobody of it is left
        round = register.round
        heard = {id: count for id, count in register.heard.items() if id in living}
        # First who is gone: that others fail of it is no failure of theirs.
        for id in sorted(members(round) - living):
            round = self._applied(round, rounds.Leave(id, f"no sign of life for {self.terms.lease:g} s"), now)
        self._doubts.begin(register.ask)
        listened = now - self._hearing.deaf
        left = self.terms.limits.max_restarts - round.restarts
        alive = self._hearing.alive_after() | self._doubts.answered(words, listened)
        for word in self._doubts.in_order(words, now):
            if word.count <= heard.get(word.node.id, 0):
                continue
            if not self._doubts.about(word, round, left, listened, alive):
                for change in changes_of(word):
                    round = self._applied(round, change, now)
                heard[word.node.id] = word.count
        if self._last_call_is_over(round, now):
            round = self._applied(round, rounds.Tick(), now)
            self._last_call_is_over(round, now)
        ask = self._doubts.ask if self.leased and self._doubts.until < NEVER else register.ask
        return register._replace(round=round, heard=heard, ask=max(ask, register.ask))

    def _applied(self, round: Round, change: Change, now: float) -> Round:
        """The round after a change. Its date is by another's clock: only a Tick, given here, lets it come."""
        if round.deadline is not None:
            now = round.deadline - (0.0 if isinstance(change, rounds.Tick) else lasts(round, self.terms.limits))
        return rounds.apply(round, change, now, self.terms.limits, self._assign)[0]

    def _last_call_is_over(self, round: Round, now: float) -> bool:
        """Whether this node has seen the round have the same date, another clock's, for as long as that lasts."""
        if round.deadline is None:
            self._last_call = None
            return False
        if self._last_call is None or self._last_call[0] != round.deadline:
            self._last_call = (round.deadline, now, lasts(round, self.terms.limits))
        return now - self._last_call[1] >= self._last_call[2]

    def _read(self, id: str, entry: bytes) -> tuple[bytes, Word]:
        known = self._known.get(id)
        return known if known is not None and known[0] == entry else (entry, decode_word(entry))

    def _say(self, say: str, node: Node | None = None, **fields: Any) -> None:
        self._word = next_word(self._word, say, node, **fields)

    # --- what has been written --------------------------------------------------------------------------

    def notice(self, register: Register, now: float, held_since: float | None = None) -> list[News]:
        """What the register tells this node. No place is taken on the strength of an old sign of life: the round that
        was read may be over. `held_since` as for `lapse`.
        """
        round, word = register.round, self._word
        if word is None or self.ended:
            return []
        if round.phase is Phase.OVER:
            if register.beats and self.me not in members(round):
                return []  # perhaps the remains of an earlier job: time tells whether anybody of it lives
            over, again = rounds.ended(round, self.me), self._asked
            self._asked, self.ended, self._waits, self._place = True, over.settled, False, None
            self._join_by = self._next_line = NEVER
            news = Over(over.succeeded, over.reason, over.requeue, over.verdict, over.settled, over.aftermath)
            return [news] if over.settled or not again else []
        if self._place is not None:
            return self._dismissed(round, self._place)
        if not self._waits or register.heard.get(self.me, 0) < word.count:
            return []
        place = seat_of(register, self.me)
        if place is not None and now >= self.lapses_at(held_since):
            return []
        if place is not None:
            seat = (place.group_rank, place.group_world_size)
            self._place, self._waits = place, False
            self._past = {"round": place.round, "restarts": place.restarts, "place": seat}
            self._is_spare = False
            self._join_by = self._next_line = NEVER
            return [Formed(place)]
        if round.phase is Phase.GATHERING and self.me not in round.here.ids:
            self._renew()  # a round with this node in it was over before anybody knew where to meet
        return []

    def waiting(self, register: Register, now: float) -> list[News]:
        """A line about what is waited for, when it is time. Raises nothing: see `too_late`."""
        if not self._waits:
            return []
        round, limits = register.round, self.terms.limits
        if round.phase is Phase.RUNNING and self.me in round.here.ids:
            return self._parked()
        if self._is_spare:
            self._is_spare = False
            self._join_by, self._next_line = now + self.terms.join_timeout, now + WAITING_EVERY
        if now < self._next_line:
            return []
        self._next_line = now + WAITING_EVERY
        have, detail = len(round.here), missing(round, limits)
        if self.me in round.seated.ids and round.phase is Phase.RUNNING:
            have, detail = len(round.seated), f"{round.seated[0].name} has not said yet where their workers meet"
        return [Waiting(have, limits.low, limits.high, detail, self._join_by - now, "this node gives up")]

    def _parked(self) -> list[News]:
        """Told once, for this may last as long as the job."""
        if self._is_spare:
            return []
        self._is_spare = True
        self._join_by = self._next_line = NEVER
        limits = self.terms.limits
        return [Waiting(limits.high, limits.low, limits.high, "the job is full; this node is a spare")]

    def too_late(self, now: float) -> bool:
        """Whether the time for a round to form is over."""
        return now >= self._join_by

    def _dismissed(self, round: Round, place: Place) -> list[News]:
        if round.number == place.round and round.phase is Phase.RUNNING:
            return []
        self._place = None
        restart = round.restarts > place.restarts
        return [Regroup(place.round, round.reason or VANISHED, restart, round.restarts, self.terms.limits.max_restarts)]
