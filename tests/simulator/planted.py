"""Defects to plant in the product, each a few lines, as somebody could have written them."""

from __future__ import annotations

from collections.abc import Callable
from signal import SIGTERM
from typing import Any

from simulated.faults import FAULTS

from launcher_core.rules import recall, steps, supervise
from launcher_core.rules import round as rounds
from launcher_core.rules.guest import Guest, Stage
from launcher_core.rules.round import Phase, Seat
from launcher_core.rules.steps import State
from launcher_core.runtime.coordinator import AgentSession, Coordinator

Plant = Callable[[Any], None]
"""Plants it, with pytest's monkeypatch."""


def _after(patch: Any, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Have `change(result, *args)` decide what a function returns."""
    real = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **named: change(real(*args, **named), *args))


# --- in the rules of membership ---------------------------------------------------------------------------


def no_fence(patch):
    real = rounds._leave
    patch.setattr(rounds, "_leave", lambda round, change, *more: real(round, change._replace(silent=False), *more))


def _often(patch, *faults):
    """Have only these faults happen: together they are rare among all."""
    for name in FAULTS.keys() - set(faults):
        patch.delitem(FAULTS, name)


def who_may_not_know_that_it_is_cut_off_gets_no_time(patch):
    _often(patch, "one_sided", "late_comer", "crash")
    real = rounds._leave
    patch.setattr(rounds, "_leave", lambda round, change, *more: real(round, change._replace(unaware=0.0), *more))


def a_new_host_begins_without_those_that_may_still_run(patch):
    _often(patch, "restart_host", "cut_off", "stall")
    real = recall.recall
    hasty = lambda limits: limits._replace(lease=0.0, fence=0.0)  # noqa: E731
    patch.setattr(recall, "recall", lambda round, id, past, now, limits: real(round, id, past, now, hasty(limits)))


def a_new_host_counts_rounds_from_the_beginning(patch):
    _after(patch, recall, "recall", lambda new, *more: new._replace(recalled=None))


def a_new_host_forgets_the_restarts(patch):
    _after(patch, recall, "recall", lambda new, old, *more: new._replace(restarts=old.restarts))


def leave_is_ignored(patch):
    patch.setattr(rounds, "_leave", lambda round, *more: round)


def one_node_is_not_dismissed(patch):
    _after(patch, rounds, "_dismiss", lambda new, round, reason, limits, told, **_: (told.pop() if told else 0, new)[1])


def two_nodes_have_the_same_rank(patch):
    real = rounds.Seat
    patch.setattr(rounds, "Seat", lambda to, round, rank, *more: real(to, round, max(0, rank - 1), *more))


def ranks_of_workers_overlap(patch):
    patch.setattr(rounds.ranks, "spans", lambda nodes: [_span(nodes, at) for at in range(len(nodes))])


def _span(nodes, at):
    total = sum(size for _, size in nodes)
    return (at, total, at, total)


def one_restart_too_many(patch):
    real = rounds._failed
    more = lambda limits: limits._replace(max_restarts=limits.max_restarts + 1)  # noqa: E731
    patch.setattr(rounds, "_failed", lambda round, change, limits, told: real(round, change, more(limits), told))


def a_failure_that_crosses_the_dismissal_counts(patch):
    real = rounds._failed
    patch.setattr(rounds, "_failed", lambda round, *more: real(round._replace(phase=Phase.RUNNING), *more))


def a_node_that_is_back_is_still_expected(patch):
    def still(new, round, node, *more):
        return new._replace(expected=new.expected | (round.expected & {node.id}))

    _after(patch, rounds, "_join", still)


def a_node_that_is_lost_is_still_expected(patch):
    _after(patch, rounds, "_leave", lambda new, old, *more: new._replace(expected=new.expected | old.expected))


def spares_are_forgotten(patch):
    _after(patch, rounds, "_form", lambda new, *more: new._replace(here=()))


def a_finished_node_is_enough(patch):
    def ended(new, round, change, told):
        return rounds._end(new, True, "one succeeded", told) if new.finished and new.phase is Phase.RUNNING else new

    _after(patch, rounds, "_finished", ended)


def who_comes_too_late_is_told_nothing(patch):
    patch.setattr(rounds, "_late", lambda round, change: [])


def a_round_does_not_wait_for_those_that_stop(patch):
    _after(patch, rounds, "_dismiss", lambda new, *more, **_: new._replace(expected=frozenset()))


# --- in the coordinator -----------------------------------------------------------------------------------


def the_last_call_never_ends(patch):
    patch.setattr(Coordinator, "_set_deadline", lambda self: None)


def silent_nodes_are_never_lost(patch):
    patch.setattr(Coordinator, "expire", lambda self, session: None)


def the_end_of_an_old_connection_ends_the_new_one(patch):
    def gone(self, session, reason):
        if session.node is not None:
            self._sessions.pop(session.node.id, None)
            self.members = len(self._sessions)
            self.change(rounds.Leave(session.node.id, reason, session.silent))

    patch.setattr(Coordinator, "gone", gone)


def a_broken_connection_is_no_reason_to_wait(patch):
    real = AgentSession.lost

    def lost(self):
        self.silent = self._why_gone.startswith("nothing was heard")
        real(self)

    patch.setattr(AgentSession, "lost", lost)


def seats_forget_the_restarts(patch):
    real = AgentSession.tell

    def tell(self, outcome, *more):
        forgetful = isinstance(outcome, Seat) and outcome.group_rank > 0
        real(self, outcome._replace(restarts=0) if forgetful else outcome, *more)

    patch.setattr(AgentSession, "tell", tell)


# --- in the agent -----------------------------------------------------------------------------------------


def the_lease_never_ends(patch):
    def endless(result, guest, *more):
        guest._alive_at = guest._signs and float("inf")

    _after(patch, Guest, "_sign", endless)


def an_unanswered_greeting_is_waited_for(patch):
    patch.setattr(Guest, "_patience", property(lambda guest: float("inf")))


def a_place_is_taken_after_the_lease(patch):
    real = Guest._told

    def told(self, kind, message, now):
        asked_at, self._asked_at = self._asked_at, now
        news = real(self, kind, message, now)
        self._asked_at = asked_at
        return news

    patch.setattr(Guest, "_told", told)


def a_place_is_not_asked_for_again_after_a_break(patch):
    def broke(news, guest, *more):
        guest._waits = guest._waits and guest.stage is not Stage.APART
        return news

    _after(patch, Guest, "broke", broke)


def success_is_not_said_again_after_a_break(patch):
    _often(patch, "snap", "half_open", "one_sided")

    def broke(news, guest, *more):
        guest._report = b""
        return news

    _after(patch, Guest, "broke", broke)


def who_is_cut_off_only_asks_its_workers_to_stop(patch):
    real = supervise.kill

    def asks(agent, *also):
        agent, effects = real(agent, *also)
        return agent, tuple(
            steps.Kill(SIGTERM, one.local_ranks) if isinstance(one, steps.Kill) else one for one in effects
        )

    patch.setattr(supervise, "kill", asks)


def a_cut_at_work_is_only_shown(patch):
    patch.setitem(supervise.TABLE[State.RUNNING], supervise.Cut, supervise._show)


def a_failure_is_not_told(patch):
    real = supervise.look
    patch.setattr(
        supervise,
        "look",
        lambda agent, reason, *also: real(
            agent, reason, *(one for one in also if not isinstance(one, steps.TellFailed))
        ),
    )


def success_is_told_by_the_first_worker(patch):
    def hasty(agent, event):
        return supervise._worker_ended(agent._replace(live=frozenset({event.exit.local_rank})), event)

    patch.setitem(supervise.TABLE[State.RUNNING], steps.Exited, hasty)


def who_is_told_to_regroup_joins_before_its_workers_are_gone(patch):
    def hasty(agent, event):
        agent, effects = supervise._told_in_running(agent, event)
        return agent, (*effects, steps.Join())

    patch.setitem(supervise.TABLE[State.RUNNING], supervise.Regroup, hasty)


PLANTED: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        no_fence,
        who_may_not_know_that_it_is_cut_off_gets_no_time,
        a_new_host_begins_without_those_that_may_still_run,
        a_new_host_counts_rounds_from_the_beginning,
        a_new_host_forgets_the_restarts,
        leave_is_ignored,
        one_node_is_not_dismissed,
        two_nodes_have_the_same_rank,
        ranks_of_workers_overlap,
        one_restart_too_many,
        a_failure_that_crosses_the_dismissal_counts,
        a_node_that_is_back_is_still_expected,
        a_node_that_is_lost_is_still_expected,
        spares_are_forgotten,
        a_finished_node_is_enough,
        who_comes_too_late_is_told_nothing,
        a_round_does_not_wait_for_those_that_stop,
        the_last_call_never_ends,
        silent_nodes_are_never_lost,
        the_end_of_an_old_connection_ends_the_new_one,
        a_broken_connection_is_no_reason_to_wait,
        seats_forget_the_restarts,
        the_lease_never_ends,
        an_unanswered_greeting_is_waited_for,
        a_place_is_taken_after_the_lease,
        a_place_is_not_asked_for_again_after_a_break,
        success_is_not_said_again_after_a_break,
        who_is_cut_off_only_asks_its_workers_to_stop,
        a_cut_at_work_is_only_shown,
        a_failure_is_not_told,
        success_is_told_by_the_first_worker,
        who_is_told_to_regroup_joins_before_its_workers_are_gone,
    )
}
