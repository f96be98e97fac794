"""Membership over breaks: nodes that return, fall silent, were started again, or bring what a new coordinator lacks."""

from __future__ import annotations

import pytest
from histories import node, play, running

from launcher_core.model.job import Node
from launcher_core.rules.recall import Past, Recalled
from launcher_core.rules.round import (
    HOST_ANEW,
    Dismiss,
    End,
    Failed,
    Finished,
    Join,
    Leave,
    Limits,
    Park,
    Phase,
    Resume,
    Tick,
    apply,
)

# --- a node that comes back after a break ----------------------------------------------------------------


def test_who_finished_and_lost_its_connection_is_back_and_hears_the_end():
    limits = Limits(2, 2)
    state, _ = apply(running(limits, node("a"), node("b")), Finished("a", 0), 1, limits)
    state, told = apply(state, Leave("a", "its connection broke"), 2, limits)
    assert (told, state.away) == ([], {"a"})

    state, told = apply(state, Resume(node("a"), 0), 3, limits)
    assert (told, state.away, state.finished) == ([], frozenset(), {"a"})
    _, told = apply(state, Failed("b", 0, "boom"), 4, limits._replace(max_restarts=1))
    assert [one.to for one in told] == ["a", "b"]


def test_success_that_was_said_into_a_broken_connection_is_heard_when_it_is_said_again():
    limits = Limits(2, 2)
    state, _ = apply(running(limits, node("a"), node("b")), Finished("a", 0), 1, limits)

    state, told = apply(state, Resume(node("b"), 0), 2, limits)
    assert (state.phase, [one.to for one in told if one.succeeded]) == (Phase.OVER, ["a", "b"])


@pytest.mark.parametrize("resume", [Resume(node("a"), 5), Resume(node("a"), -1), Resume(node("stranger"), 0)])
def test_who_resumes_what_is_not_running_is_sent_to_join_again(resume):
    limits = Limits(1, 1, max_restarts=2)
    state = running(limits, node("a"))

    assert apply(state, resume, 1, limits) == (state, [Dismiss(resume.node.id, resume.round, HOST_ANEW, False, 0, 2)])


def test_who_resumes_a_round_that_was_ended_meanwhile_hears_why():
    limits = Limits(2, 2, max_restarts=1)
    state, _ = apply(running(limits, node("a"), node("b")), Failed("b", 0, "boom"), 1, limits)

    assert apply(state, Resume(node("a"), 0), 2, limits)[1] == [Dismiss("a", 0, "boom", False, 1, 1)]


def test_who_resumes_after_the_end_hears_how_it_ended():
    limits = Limits(1, 1)
    state, _ = apply(running(limits, node("a")), Finished("a", 0), 1, limits)

    assert apply(state, Resume(node("a"), 0), 2, limits)[1] == [End("a", True, "all workers succeeded")]


# --- a node that fell silent -----------------------------------------------------------------------------

FENCED = Limits(1, 2, fence=0.5)


def test_no_round_forms_while_workers_of_a_silent_node_may_still_run():
    state, told = apply(running(FENCED, node("a"), node("b")), Leave("b", "silent", silent=True), 10, FENCED)
    assert ([one.to for one in told], state.fenced_until) == (["a"], 10.5)

    state, told = apply(state, Join(node("a")), 10.1, FENCED)
    assert (told, state.phase, state.deadline) == ([], Phase.GATHERING, 10.5)
    assert apply(state, Tick(), 10.4, FENCED) == (state, [])
    state, told = apply(state, Tick(), 10.5, FENCED)
    assert ([(one.to, one.round) for one in told], state.fenced_until) == ([("a", 1)], None)


def test_a_round_that_is_full_waits_for_the_fence_too():
    state, _ = apply(running(FENCED, node("a"), node("b")), Leave("b", "silent", silent=True), 10, FENCED)
    state, _ = apply(state, Join(node("new")), 10.1, FENCED)
    state, told = apply(state, Join(node("a")), 10.2, FENCED)
    assert told == []

    _, told = apply(state, Tick(), 10.5, FENCED)
    assert [one.to for one in told] == ["a", "new"]


def test_a_fence_alone_is_no_last_call():
    """Strangers only, and more may come: after the fence they are given the whole last call."""
    limits = Limits(1, 3, last_call=30, fence=0.5)
    state, _ = apply(running(limits, node("a")), Leave("a", "silent", silent=True), 10, limits)
    state, _ = apply(state, Join(node("b")), 10.1, limits)
    assert state.deadline == 10.5

    state, told = apply(state, Tick(), 10.5, limits)
    assert (told, state.deadline) == ([], 40.5)


@pytest.mark.parametrize("leave", [Leave("b", "its connection broke"), Leave("s", "silent", silent=True)])
def test_who_says_that_it_goes_or_has_no_workers_needs_no_fence(leave):
    state, _ = apply(running(FENCED, node("a"), node("b")), Join(node("s")), 1, FENCED)

    assert apply(state, leave, 10, FENCED)[0].fenced_until is None


def test_who_has_finished_needs_no_fence():
    state, _ = apply(running(FENCED, node("a"), node("b")), Finished("b", 0), 1, FENCED)

    assert apply(state, Leave("b", "silent", silent=True), 10, FENCED)[0].fenced_until is None


def test_who_falls_silent_while_it_stops_its_workers_is_fenced():
    state, _ = apply(running(FENCED, node("a"), node("b")), Leave("b", "its connection broke"), 1, FENCED)

    state, _ = apply(state, Leave("a", "silent", silent=True), 10, FENCED)
    assert (state.expected, state.fenced_until) == (frozenset(), 10.5)


def test_where_neither_fence_nor_last_call_takes_time_the_round_forms_without_any():
    limits = Limits(1, 3, last_call=0)
    state, _ = play(limits, (10, Join(node("a"), past=Past(4, 0, 0, 3))), (10, Tick()), (10, Tick()))

    assert (state.phase, state.number) == (Phase.RUNNING, 5)


# --- a coordinator that has just begun -------------------------------------------------------------------


def test_a_new_coordinator_goes_on_from_what_the_nodes_know_when_no_old_workers_can_run():
    limits = Limits(2, 2, max_restarts=3, fence=0.5)
    state, _ = play(
        limits, (10, Join(node("a"), past=Past(4, 1, 0, 2))), (10.1, Join(node("b"), past=Past(3, 1, 0, 2)))
    )
    assert (state.restarts, state.fenced_until) == (1, 10.5)

    _, told = apply(state, Tick(), 10.5, limits)
    assert [(one.to, one.round) for one in told] == [("a", 5), ("b", 5)]


def test_the_newest_round_that_a_node_knows_counts_and_the_most_restarts():
    limits = Limits(3, 3)
    state, _ = play(limits, (1, Join(node("a"), past=Past(2, 5, 0, 3))), (2, Join(node("b"), past=Past(7, 1, 0, 3))))

    assert (state.recalled, state.restarts) == (Recalled(7, 3, (("b", 0),), {"b"}), 5)


@pytest.mark.parametrize("past", [Past(0, 0, 0, 1), None])
def test_a_coordinator_that_knows_better_believes_itself(past):
    limits = Limits(1, 2, max_restarts=3)
    state, _ = apply(running(limits, node("a")), Failed("a", 0, "x"), 1, limits)
    state, told = apply(state, Join(node("a"), past), 2, limits)

    assert [(one.round, one.restarts) for one in told] == [(1, 1)]


def test_a_running_round_keeps_its_number_whatever_a_newcomer_remembers_and_the_next_is_newer_than_that():
    limits = Limits(1, 1)
    state = running(limits, node("a"))
    state, told = apply(state, Join(node("b"), past=Past(9, 9, 0, 1)), 1, limits)
    assert (state.number, told) == (0, [Park("b")])

    state, told = apply(state, Leave("a", "killed"), 2, limits)
    assert [(one.to, one.round, one.restarts) for one in told] == [("b", 10, 9)]


def test_survivors_keep_their_ranks_under_a_new_coordinator_and_who_is_new_fills_the_gap():
    limits = Limits(3, 3)
    _, told = play(
        limits,
        (1, Join(node("new"))),
        (1, Join(node("c"), Past(4, 0, 2, 3))),
        (1, Join(node("b"), Past(4, 0, 1, 3))),
    )

    assert [(one.to, one.group_rank) for one in told] == [("new", 0), ("b", 1), ("c", 2)]


def test_what_a_node_remembers_of_an_older_round_is_no_claim_to_a_rank():
    limits = Limits(2, 2)
    _, told = play(limits, (1, Join(node("b"), Past(4, 0, 1, 2))), (1, Join(node("a"), Past(3, 0, 1, 2))))

    assert [(one.to, one.group_rank) for one in told] == [("a", 0), ("b", 1)]


def test_a_node_that_asks_twice_claims_one_rank():
    limits = Limits(2, 2)
    claims = [Join(node("b"), Past(4, 0, 1, 2)), Join(node("b"), Past(4, 0, 1, 2)), Join(node("a"))]
    state, told = play(limits, *((1, claim) for claim in claims))

    assert ([(one.to, one.group_rank) for one in told], state.recalled) == ([("a", 0), ("b", 1)], None)


def test_a_new_coordinator_waits_for_no_last_call_once_as_many_are_there_as_took_part():
    limits = Limits(1, 4, last_call=30, fence=0.5)
    state, _ = play(limits, (1, Join(node("new"))), (1.2, Join(node("b"), Past(4, 0, 1, 2))))
    assert (state.phase, state.deadline) == (Phase.GATHERING, 1.7)

    state, told = apply(state, Tick(), 1.7, limits)
    assert (state.number, [one.to for one in told]) == (5, ["new", "b"])


def test_with_fewer_than_took_part_a_new_coordinator_makes_a_last_call():
    limits = Limits(1, 4, last_call=30)
    state, told = play(limits, (1, Join(node("new"))), (1.2, Join(node("b"), Past(4, 0, 1, 3))))

    assert (state.phase, state.deadline, told) == (Phase.GATHERING, 31, [])


# --- an agent that was started again ---------------------------------------------------------------------


def test_an_agent_that_was_started_again_has_its_old_rank():
    limits = Limits(3, 3)
    state = running(limits, node("a"), node("b"), node("c"))
    state, _ = apply(state, Leave("a", "killed"), 1, limits)
    state, _ = apply(state, Leave("c", "killed"), 1, limits)
    for again in (Node("c2", "host-c", 1), Node("a2", "host-a", 1)):
        state, _ = apply(state, Join(again), 2, limits)
    state, told = apply(state, Join(node("b")), 3, limits)

    assert [(one.to, one.group_rank) for one in told] == [("a2", 0), ("b", 1), ("c2", 2)]


def test_one_old_rank_is_inherited_once():
    """Two newcomers of one name: the first has the rank, the other what is left."""
    limits = Limits(3, 3)
    state = running(limits, node("a"), node("b"), node("c"))
    state, _ = apply(state, Leave("b", "killed"), 1, limits)
    state, _ = apply(state, Leave("a", "killed"), 1, limits)
    for again in (Node("b2", "host-b", 1), Node("b3", "host-b", 1)):
        state, _ = apply(state, Join(again), 2, limits)
    state, told = apply(state, Join(node("c")), 3, limits)

    assert [(one.to, one.group_rank) for one in told] == [("b3", 0), ("b2", 1), ("c", 2)]
