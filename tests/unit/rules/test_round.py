"""Membership as histories: a list of changes, and what everybody was told."""

from __future__ import annotations

import pytest
from histories import node, play, running

from launcher_core.rules.crowd import missing
from launcher_core.rules.round import (
    Close,
    Dismiss,
    End,
    Failed,
    Finished,
    Join,
    Leave,
    Limits,
    Park,
    Phase,
    Seat,
    Tick,
    apply,
)


def test_a_full_round_forms_at_once_with_dense_ranks_for_different_sizes():
    state, told = play(Limits(2, 2), (0, Join(node("a", 2))), (1, Join(node("b", 3))))

    assert told == [Seat("a", 0, 0, 2, 0, 5, 0, 5, 0), Seat("b", 0, 1, 2, 2, 5, 2, 5, 0)]
    assert state.phase is Phase.RUNNING


def test_the_last_call_starts_when_enough_are_here_and_then_the_round_forms():
    limits = Limits(1, 2, last_call=5)
    early, told = play(limits, (10, Join(node("a"))), (14.9, Tick()))
    assert (early.phase, early.deadline, told) == (Phase.GATHERING, 15, [])

    late, told = apply(early, Tick(), 15, limits)
    assert (late.phase, [one.to for one in told]) == (Phase.RUNNING, ["a"])


def test_the_last_call_is_taken_back_when_too_few_are_left():
    state, _ = play(Limits(1, 2), (0, Join(node("a"))), (1, Leave("a", "left")))

    assert (state.deadline, state.here) == (None, ())


def test_a_failure_within_the_budget_dismisses_everybody_and_the_next_round_counts_it():
    limits = Limits(2, 2, max_restarts=1)
    state = running(limits, node("a"), node("b"))
    state, told = apply(state, Failed("b", 0, "rank 1 exited with code 3"), 5, limits)

    why = "rank 1 exited with code 3"
    assert told == [Dismiss("a", 0, why, True, 1, 1), Dismiss("b", 0, why, True, 1, 1)]
    state, told = apply(state, Join(node("b")), 6, limits)
    assert told == []
    state, told = apply(state, Join(node("a")), 7, limits)
    assert [(one.to, one.round, one.group_rank, one.restarts) for one in told] == [("a", 1, 0, 1), ("b", 1, 1, 1)]


def test_a_failure_beyond_the_budget_ends_the_job_for_everybody():
    limits = Limits(2, 2, max_restarts=0)
    state, told = apply(running(limits, node("a"), node("b")), Failed("a", 0, "boom"), 5, limits)

    assert told == [End("a", False, "boom"), End("b", False, "boom")]
    assert (state.phase, state.succeeded) == (Phase.OVER, False)


def test_restarts_that_count_no_more_make_room_for_others():
    limits = Limits(1, 1, max_restarts=1)
    spent = running(limits, node("a"))._replace(restarts=1)

    over, _ = apply(spent, Failed("a", 0, "boom"), 5, limits)
    again, told = apply(spent, Failed("a", 0, "boom", forgiven=1), 5, limits)

    assert (over.phase, again.restarts) == (Phase.OVER, 2)
    assert told == [Dismiss("a", 0, "boom", True, 2, 1)]


@pytest.mark.parametrize("change", [Failed("a", 0, "late"), Finished("a", 0)])
def test_news_of_an_earlier_round_changes_nothing(change):
    limits = Limits(1, 1, max_restarts=5)
    state = running(limits, node("a"))
    state, _ = apply(state, Failed("a", 0, "x"), 1, limits)
    state, _ = apply(state, Join(node("a")), 1, limits)

    assert apply(state, change, 2, limits) == (state, [])


def test_the_job_succeeds_when_the_last_node_has_finished():
    limits = Limits(2, 2)
    state, told = apply(running(limits, node("a"), node("b")), Finished("b", 0), 1, limits)
    assert told == []

    state, told = apply(state, Finished("a", 0), 2, limits)
    assert told == [End("a", True, "all workers succeeded"), End("b", True, "all workers succeeded")]


def test_a_newcomer_makes_a_running_job_grow_for_free():
    limits = Limits(1, 2)
    state, told = apply(running(limits, node("a")), Join(node("b")), 1, limits)
    assert told == [Dismiss("a", 0, "host-b joined", False)]

    state, told = apply(state, Join(node("a")), 2, limits)
    assert [(one.to, one.group_rank, one.world_size, one.restarts) for one in told] == [
        ("a", 0, 2, 0),
        ("b", 1, 2, 0),
    ]


def test_a_lost_node_shrinks_the_job_and_survivors_keep_their_ranks():
    limits = Limits(2, 3)
    state = running(limits, node("a"), node("b"), node("c"))
    state, told = apply(state, Leave("b", "its connection broke"), 1, limits)
    assert [one.to for one in told] == ["a", "c"]

    state, _ = apply(state, Join(node("c")), 2, limits)
    state, told = apply(state, Join(node("a")), 3, limits)
    assert [(one.to, one.group_rank) for one in told] == [("a", 0), ("c", 1)]


def test_a_replacement_takes_the_place_of_the_node_that_was_lost():
    limits = Limits(3, 3)
    state = running(limits, node("a"), node("b"), node("c"))
    state, _ = apply(state, Leave("b", "lost"), 1, limits)
    for one in ("c", "new"):
        state, _ = apply(state, Join(node(one)), 2, limits)
    state, told = apply(state, Join(node("a")), 3, limits)

    assert [(one.to, one.group_rank) for one in told] == [("a", 0), ("new", 1), ("c", 2)]


def test_a_surplus_node_is_parked_and_promoted_when_a_place_is_free():
    limits = Limits(2, 2)
    state = running(limits, node("a"), node("b"))
    state, told = apply(state, Join(node("s")), 1, limits)
    assert told == [Park("s")]

    state, told = apply(state, Leave("a", "lost"), 2, limits)
    assert told == [Dismiss("b", 0, "host-a is gone: lost", False)]
    state, told = apply(state, Join(node("b")), 3, limits)
    assert [(one.to, one.group_rank) for one in told] == [("s", 0), ("b", 1)]


def test_a_regroup_waits_for_those_that_still_stop_their_workers_however_long():
    limits = Limits(1, 3, last_call=1, max_restarts=3)
    state = running(limits, node("a"), node("b"), node("c"))
    state, _ = apply(state, Failed("a", 0, "x"), 0, limits)
    state, _ = apply(state, Join(node("a")), 1, limits)
    state, told = apply(state, Tick(), 10_000, limits)

    assert (state.phase, told) == (Phase.GATHERING, [])
    assert missing(state, limits) == "waiting for host-b, host-c to come back"


def test_of_many_nodes_that_are_waited_for_some_are_named():
    limits = Limits(20, 20, max_restarts=1)
    state = running(limits, *(node(str(number)) for number in range(20)))
    state, _ = apply(state, Failed("0", 0, "x"), 0, limits)

    assert missing(state, limits) == f"waiting for {', '.join(f'host-{n}' for n in range(8))} and 12 more to come back"


def test_a_node_that_finished_and_left_does_not_disturb_the_others():
    limits = Limits(2, 2)
    state, _ = apply(running(limits, node("a"), node("b")), Finished("a", 0), 1, limits)

    state, told = apply(state, Leave("a", "bye"), 2, limits)
    assert (state.phase, told) == (Phase.RUNNING, [])
    state, told = apply(state, Finished("b", 0), 3, limits)
    assert End("b", True, "all workers succeeded") in told


@pytest.mark.parametrize("ending, succeeded", [(Finished("a", 0), True), (Close("stopped"), False)])
def test_who_comes_after_the_end_is_told_how_it_ended(ending, succeeded):
    limits = Limits(1, 1)
    state, _ = apply(running(limits, node("a")), ending, 1, limits)
    _, told = apply(state, Join(node("late")), 2, limits)

    assert [(one.to, one.succeeded) for one in told] == [("late", succeeded)]


def test_wishes_for_a_rank_are_honoured():
    limits = Limits(2, 2)
    _, told = play(limits, (0, Join(node("a", node_rank=1))), (0, Join(node("b", node_rank=0))))

    assert [(one.to, one.group_rank) for one in told] == [("b", 0), ("a", 1)]


@pytest.mark.parametrize(
    "chosen, order", [([1, 0], ["b", "a"]), ([0, 0], ["a", "b"]), ([5, 1], ["a", "b"]), (None, ["a", "b"])]
)
def test_a_policy_may_order_the_ranks_and_nonsense_is_not_followed(chosen, order):
    _, told = play(Limits(2, 2), (0, Join(node("a"))), (0, Join(node("b"))), assign=lambda nodes, facts: chosen)

    assert [one.to for one in told] == order


def test_roles_count_their_own_ranks_in_group_order():
    limits = Limits(3, 3)
    _, told = play(
        limits,
        (0, Join(node("a", 2, role="trainer"))),
        (0, Join(node("b", 3, role="ps"))),
        (0, Join(node("c", 1, role="trainer"))),
    )

    spans = [(one.base_rank, one.world_size, one.base_role_rank, one.role_world_size) for one in told]
    assert spans == [(0, 6, 0, 3), (2, 6, 0, 3), (5, 6, 2, 3)]


# --- ranks that the user fixed ---------------------------------------------------------------------------

FIXED = Limits(2, 2, max_restarts=3, fixed_ranks=True)
TAKEN = "node rank 1 is taken by host-b; give each node its own --node-rank"


def test_a_second_node_with_a_rank_that_is_taken_is_refused_and_the_others_gather_on():
    gathering, _ = play(FIXED, (0, Join(node("b", node_rank=1))))
    state, told = apply(gathering, Join(node("c", node_rank=1)), 1, FIXED)
    assert (state, told) == (gathering, [End("c", False, TAKEN, refused=True)])

    _, told = apply(state, Join(node("a", node_rank=0)), 2, FIXED)
    assert [(one.to, one.group_rank) for one in told] == [("a", 0), ("b", 1)]


def test_a_node_with_a_rank_that_is_taken_does_not_disturb_a_running_job():
    state = running(FIXED, node("a", node_rank=0), node("b", node_rank=1))

    assert apply(state, Join(node("c", node_rank=1)), 1, FIXED) == (state, [End("c", False, TAKEN, refused=True)])


def test_a_rank_is_taken_while_its_node_stops_its_workers_and_comes_back_to_it():
    state = running(FIXED, node("a", node_rank=0), node("b", node_rank=1))
    state, _ = apply(state, Failed("a", 0, "x"), 1, FIXED)
    _, told = apply(state, Join(node("c", node_rank=1)), 2, FIXED)
    assert told == [End("c", False, TAKEN, refused=True)]

    state, told = apply(state, Join(node("b", node_rank=1)), 3, FIXED)
    assert told == []
    _, told = apply(state, Join(node("a", node_rank=0)), 4, FIXED)
    assert [(one.to, one.group_rank, one.round) for one in told] == [("a", 0, 1), ("b", 1, 1)]


def test_a_rank_is_free_again_when_its_node_was_lost():
    state = running(FIXED, node("a", node_rank=0), node("b", node_rank=1))
    state, _ = apply(state, Leave("b", "lost"), 1, FIXED)
    state, told = apply(state, Join(node("c", node_rank=1)), 2, FIXED)
    assert told == []

    _, told = apply(state, Join(node("a", node_rank=0)), 3, FIXED)
    assert [(one.to, one.group_rank) for one in told] == [("a", 0), ("c", 1)]


def test_where_ranks_are_only_wishes_two_nodes_may_have_the_same():
    _, told = play(Limits(2, 2), (0, Join(node("a", node_rank=1))), (0, Join(node("b", node_rank=1))))

    assert [(one.to, one.group_rank) for one in told] == [("b", 0), ("a", 1)]


def test_a_restart_does_not_wait_for_a_node_that_finished_and_left():
    limits = Limits(1, 2, max_restarts=1)
    state, _ = apply(running(limits, node("a"), node("b")), Finished("a", 0), 1, limits)
    state, _ = apply(state, Leave("a", "the other nodes did not finish in time"), 2, limits)
    state, told = apply(state, Failed("b", 0, "boom"), 3, limits)
    assert told == [Dismiss("b", 0, "boom", True, 1, 1)]

    state, told = apply(state, Join(node("b")), 4, limits)
    assert [(one.to, one.round, one.group_world_size) for one in told] == [("b", 1, 1)]


# --- what a gathering round waits for --------------------------------------------------------------------


def test_a_wait_says_who_is_here_and_how_many_are_needed():
    limits = Limits(3, 3)
    state, _ = play(limits, (0, Join(node("a"))))
    assert missing(state, limits) == "here: host-a; 2 more needed"


def test_a_wait_after_a_loss_says_who_was_here_before():
    limits = Limits(2, 2)
    state, _ = apply(running(limits, node("a"), node("b")), Leave("b", "lost"), 1, limits)
    state, _ = apply(state, Join(node("a")), 2, limits)
    assert missing(state, limits) == "here: host-a; 1 more needed; were here before: host-b"


def test_a_wait_for_fixed_ranks_names_them():
    limits = Limits(4, 4, fixed_ranks=True)
    state, _ = play(limits, (0, Join(node("c", node_rank=2))))
    assert missing(state, limits) == "here: host-c; node ranks that are missing: 0, 1, 3"


def test_a_line_does_not_name_very_many():
    limits = Limits(40, 40)
    state, _ = play(limits, *((0, Join(node(str(rank)))) for rank in range(30)))
    assert missing(state, limits).startswith("here: host-0, host-1, ")
    assert missing(state, limits).endswith(", host-7 and 22 more; 10 more needed")
