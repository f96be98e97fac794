"""What each node makes of a shared register, and what it tells its agent."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.model.job import Node
from launcher_core.model.news import Formed, News, Over, Regroup, Waiting
from launcher_core.rules.blame import Failed as Worker
from launcher_core.rules.clerk import LAZY, NEVER, WAITING_EVERY, Clerk
from launcher_core.rules.doubt import Doubts
from launcher_core.rules.recall import Past
from launcher_core.rules.register import (
    Address,
    Errand,
    Register,
    Terms,
    Word,
    changes_of,
    decode,
    decode_word,
    encode,
    encode_word,
)
from launcher_core.rules.round import SETTLE, Join, Limits, Round, apply
from launcher_core.rules.testimony import statement


class Desk:
    """A register without a backend's trouble: every swap wins, and who comes first leads."""

    def __init__(self) -> None:
        self.state: bytes | None = None
        self.entries: dict[str, bytes] = {}

    def answer(self, id: str, method: str, args: tuple[Any, ...]) -> Any:
        if method == "set_state":
            self.state = args[0]
            return self.state, 0, True
        if method == "enter":
            self.entries[args[0]] = args[1]
        if method == "withdraw":
            del self.entries[id]
        answers = {
            "get_state": None if self.state is None else (self.state, 0),
            "leads": [*self.entries][:1] == [id],
            "entries": dict(self.entries),
            "held_since": 0.0,
        }
        return answers.get(method)


class Member:
    """A node with its clerk; it has signs of life enough when it looks every ten seconds."""

    def __init__(self, desk: Desk, name: str, limits: Limits, *, leased: bool = False) -> None:
        self.desk, self.name = desk, name
        self.node = Node(name, f"host-{name}", 1)
        self.clerk = Clerk(Terms(limits, join_timeout=60.0), leased=leased)

    def look(self, now: float) -> list[News]:
        """Do what there is to do, and hear what there is to hear."""
        register = self._run(self.clerk.sync(now, lambda round: Address(round, self.name, 1)))
        held = now if self.clerk.leased else None
        return [*self.clerk.notice(register, now, held), *self.clerk.waiting(register, now)]

    def depart(self, now: float) -> None:
        """Say the last word."""
        self._run(self.clerk.depart(now))

    def _run(self, errand: Errand) -> Register:
        answer = None
        try:
            while True:
                call = errand.send(answer)
                answer = self.desk.answer(self.name, call.method, call.args)
        except StopIteration as end:
            register: Register = end.value
            return register

    def join(self, now: float) -> list[News]:
        self.clerk.join(self.node, now)
        return self.look(now)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def kinds(news: list[News]) -> list[type]:
    return [type(one) for one in news]


def test_a_spare_is_told_so_at_once_and_once(desk: Desk) -> None:
    limits = Limits(1, 1)
    seated, spare = Member(desk, "a", limits), Member(desk, "b", limits)
    assert kinds(seated.join(0.0)) == [Formed]

    assert spare.join(1.0) == [Waiting(1, 1, 1, "the job is full; this node is a spare")]
    for now in (10.0, 20.0, 30.0):
        assert [*seated.look(now), *spare.look(now)] == []


def test_a_spare_waits_as_long_as_the_job_runs_and_no_longer_than_others_when_it_does_not(desk: Desk) -> None:
    limits = Limits(2, 2)
    one, other, spare = (Member(desk, name, limits) for name in "abc")
    one.join(0.0)
    assert kinds(other.join(0.0)) == [] and kinds(one.look(0.0)) == [Formed]
    assert kinds(other.look(0.0)) == [Formed]
    spare.join(0.0)
    assert not spare.clerk.too_late(10000.0)
    one.look(10.0)
    other.clerk.leave("it was told to")
    other.look(10.0)
    assert kinds(one.look(10.0)) == [Regroup]

    spare.look(10.0)  # waits for `one` to come back

    assert not spare.clerk.too_late(69.0)
    assert spare.clerk.too_late(70.0)
    assert kinds(spare.look(10.0 + WAITING_EVERY)) == [Waiting]


def test_a_node_whose_round_was_over_before_it_began_asks_again_without_being_told(desk: Desk) -> None:
    late = Member(desk, "a", Limits(2, 2), leased=True)
    late.join(0.0)
    assert late.clerk.alarm > 0.0

    assert late.clerk.notice(Register(heard={"a": 1}), 0.0) == []  # others gather again, without it

    assert late.clerk.alarm < 0.0
    late.look(0.0)
    assert decode_word(desk.entries["a"]).count == 2
    assert late.clerk.alarm > 0.0


def test_a_node_that_waits_for_rank_0_to_say_where_to_meet_is_told_so(desk: Desk) -> None:
    limits = Limits(2, 2)
    first, second = Member(desk, "a", limits), Member(desk, "b", limits)
    first.join(0.0)
    assert second.join(0.0) == []

    (line,) = second.look(WAITING_EVERY)

    assert line == Waiting(2, 2, 2, "host-a has not said yet where their workers meet", 50.0, "this node gives up")


def test_a_node_that_has_a_place_only_looks_when_it_is_told_where_the_backend_keeps_entries(desk: Desk) -> None:
    limits = Limits(2, 2)
    first, second = (Member(desk, name, limits, leased=True) for name in "ab")
    first.join(0.0)
    assert first.clerk.alarm == LAZY
    second.join(0.0)
    assert second.clerk.alarm == WAITING_EVERY
    assert kinds(first.look(0.0)) == [Formed] == kinds(second.look(0.0))
    assert first.clerk.alarm == second.clerk.alarm == NEVER


def test_a_last_call_begins_when_enough_nodes_are_here_and_not_when_somebody_writes_who_is(desk: Desk) -> None:
    first = Member(desk, "a", Limits(1, 2, last_call=0.3), leased=True)
    assert first.join(0.0) == []
    assert first.clerk.alarm == 0.3

    assert kinds(first.look(0.3)) == [Formed]


@pytest.mark.parametrize("leased", [False, True], ids=["plain", "entries"])
def test_a_node_that_had_finished_is_not_missed_when_it_leaves_before_that_was_read(desk: Desk, leased: bool) -> None:
    limits = Limits(2, 2)
    first, second = (Member(desk, name, limits, leased=leased) for name in "ab")
    first.join(0.0)
    second.join(0.0)
    assert kinds(first.look(0.0)) == [Formed] == kinds(second.look(0.0))

    second.clerk.finished(0)
    second.clerk.leave("the other nodes did not finish in time")
    second.depart(0.0)
    assert first.look(0.0) == []
    first.clerk.finished(0)

    assert first.look(0.0) == [Over(True, "all workers succeeded")]


# --- what ended the job ----------------------------------------------------------------------------------


def telling(node: str, rank: int, message: str, age: float = 0.0) -> dict[str, Any]:
    return statement(node, Worker(rank, 0, 100 + rank, 1, 5.0, message=message), age=age)


def pair_over(desk: Desk, leased: bool) -> tuple[Member, Member]:
    """Two nodes in a round, with no restart."""
    pair = tuple(Member(desk, name, Limits(2, 2), leased=leased) for name in "ab")
    for one in pair:
        one.join(0.0)
    while not all(one.clerk.holds for one in pair):
        for one in pair:
            one.look(0.0)
    return pair  # type: ignore[return-value]


@pytest.mark.parametrize("leased", [True, False])
def test_nodes_settle_on_the_failure_that_explains_the_lost_connection(desk: Desk, leased: bool) -> None:
    a, b = pair_over(desk, leased)
    a.clerk.testify(0, telling("host-a", 0, "Connection reset by peer"), "")
    a.clerk.failed(0, "a lost it")
    told: dict[str, list[Over]] = {"a": [], "b": []}
    for now in (10.0, 20.0, 20.1, 20.2, 20.3):  # first each shows that it lives
        for one in (a, b):
            news = [over for over in one.look(now) if isinstance(over, Over)]
            told[one.name] += news
            if news and not news[0].settled:
                cause = telling("host-b", 1, "bad shard") if one is b else None
                one.clerk.testify(0, cause, f"{one.name} has stopped")
                assert not one.clerk.ended
    assert [over.settled for over in told["a"]] == [over.settled for over in told["b"]] == [False, True]
    assert told["a"][1] == told["b"][1]
    assert told["a"][1].verdict["node"] == "host-b"
    assert dict(told["a"][1].aftermath) == {"host-a": "a has stopped", "host-b": "b has stopped"}


@pytest.mark.parametrize("leased", [True, False])
def test_a_node_that_does_not_answer_is_waited_for_by_the_clock_of_each(desk: Desk, leased: bool) -> None:
    a, b = pair_over(desk, leased)
    a.clerk.testify(0, telling("host-a", 0, "bad shard"), "")
    a.clerk.failed(0, "a failed")
    news = [one for now in (10.0, 20.0) for member in (a, b) for one in member.look(now) if isinstance(one, Over)]
    assert not news[0].settled
    since = 20.0
    assert a.clerk.alarm <= since + SETTLE
    assert [one.settled for one in a.look(since + 2 * SETTLE) if isinstance(one, Over)] == [True]


def test_of_failures_that_are_read_together_the_one_that_was_first_comes_first() -> None:
    early, late = telling("host-b", 1, "bad", age=0.4), telling("host-a", 0, "bad", age=0.1)
    words = [Word(Node(name, name, 1), 3, "failed", 0, testimony=told) for name, told in (("a", late), ("b", early))]
    silent = Word(Node("c", "c", 1), 1, "leave")
    doubts = Doubts(15.0)
    assert [word.node.id for word in doubts.in_order([words[0], silent, words[1]], 10.0)] == ["c", "b", "a"]
    later = Word(Node("d", "d", 1), 1, "failed", 0, testimony=telling("host-d", 3, "bad", age=0.2))
    assert [word.node.id for word in doubts.in_order([later, *words], 10.5)] == ["b", "a", "d"]
    assert doubts.in_order([silent], 11.0) == [silent]


def test_a_word_with_a_testimony_is_read_as_it_was_written_and_nonsense_is_refused() -> None:
    word = Word(Node("a", "host-a", 1), 3, "failed", 0, testimony=telling("host-a", 0, "bad"), told="x")
    assert decode_word(encode_word(word)) == word
    with pytest.raises(ValueError, match="an entry says what no launcher says"):
        decode_word(encode_word(word._replace(testimony={"rank": "all"})))


def test_a_register_whose_verdict_is_being_settled_is_read_as_it_was_written(desk: Desk) -> None:
    a, _ = pair_over(desk, leased=True)
    a.clerk.testify(0, telling("host-a", 0, "bad shard"), "")
    a.clerk.failed(0, "a failed")
    for now in (10.0, 20.0):
        a.look(now)
    assert desk.state is not None
    register = decode(desk.state)
    assert encode(register) == desk.state


def test_a_word_that_remembers_a_place_is_read_as_it_was_written_and_half_a_place_is_refused() -> None:
    word = Word(Node("a", "host-a", 1), 3, "join", 4, restarts=1, place=(1, 2))
    assert decode_word(encode_word(word)) == word
    assert changes_of(word) == (Join(word.node, Past(4, 1, 1, 2)),)
    for place in ((), (1,), (1, 2, 3), (-1, 2), (0.5, 1)):
        with pytest.raises(ValueError, match="an entry says what no launcher says"):
            decode_word(encode_word(word._replace(place=place)))


def test_a_register_that_was_told_of_earlier_rounds_is_read_as_it_was_written() -> None:
    round, _ = apply(Round(), Join(Node("a", "host-a", 1), Past(4, 1, 1, 2)), 0.0, Limits(2, 2))
    assert round.recalled is not None
    assert decode(encode(Register(round))) == Register(round)


@pytest.mark.parametrize("leased", [False, True])
def test_no_place_is_taken_on_the_strength_of_an_old_sign_of_life(leased):
    member = Member(Desk(), "a", Limits(1, 1), leased=leased)
    member.clerk.join(member.node, 0.0)
    register = member._run(member.clerk.sync(0.0, lambda round: Address(round, "a", 1)))
    late = member.clerk.lapses_at(0.0)

    assert member.clerk.notice(register, late, 0.0 if leased else None) == []
    assert [type(one) for one in member.look(late)] == [Formed]
