"""What each node makes of a shared register, and what it tells its agent."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.model.job import Node
from launcher_core.model.news import Formed, News, Over, Regroup, Waiting
from launcher_core.rules.clerk import LAZY, NEVER, WAITING_EVERY, Clerk, Errand
from launcher_core.rules.register import Address, Register, Terms, decode_word
from launcher_core.rules.round import Limits


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
        return [*self.clerk.notice(register), *self.clerk.waiting(register, now)]

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

    assert late.clerk.notice(Register(heard={"a": 1})) == []  # others gather again, without it

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
