"""The agent's decisions as histories: events in, effects out, no process anywhere."""

from __future__ import annotations

from signal import SIGINT, SIGKILL, SIGTERM, SIGUSR1

import pytest

from launcher_core.errors import PreemptedError
from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.rules.steps import (
    EVENTS,
    Alarm,
    Arm,
    AskMore,
    Disarm,
    Examine,
    Examined,
    Exited,
    Forwarded,
    Hung,
    Join,
    Kill,
    Leave,
    Leaving,
    Look,
    Looked,
    Pass,
    Preempted,
    Rang,
    Remains,
    Requeue,
    Say,
    Signalled,
    Stalled,
    Start,
    StartFailed,
    State,
    Sweep,
    TellFailed,
    TellFinished,
    TellKnown,
    Wants,
    Warn,
    Warned,
)
from launcher_core.rules.supervise import TABLE, Agent, Patience, begin, step

PLACE = Place(0, 0, 1, 0, 3, 0, 3, "127.0.0.1", 1)
PATIENCE = Patience(look=2, grace=5, most=20, reap=7, linger=8, barrier=9)
FAILED = Exited(WorkerExit(1, 101, 3, 0.0))
WHY = "rank 1 (local rank 1, pid 101) exited with code 3"
SEEN = Looked(0, ("rank 0: in all_reduce, train.py:41",), "/logs/stacks.txt")
ONE_OF_EACH = (
    Formed(PLACE),
    Regroup(0, "host-b joined"),
    Cut("no answer"),
    Over(False, "boom"),
    Waiting(1, 1, 2, ""),
    Notice("an agent was refused"),
    Trouble(ConnectionError("gone")),
    FAILED,
    StartFailed(OSError("no such program")),
    Hung("no heartbeat", 0),
    Signalled(SIGTERM),
    Forwarded(SIGUSR1),
    Preempted("SIGUSR1 came"),
    Warned(),
    Looked(0),
    Wants(0),
    Examined(0),
    Rang(Alarm.GRACE),
    Stalled("no progress", 0),
)


STUCK = Examined(0, tuple(Remains(local, 100 + local, "uninterruptible in nfs", False) for local in (0, 2)))


def ended(local_rank: int, code: int = 0, stopped: bool = False) -> Exited:
    return Exited(WorkerExit(local_rank, 100 + local_rank, code, 0.0, stopped))


def after(*events) -> tuple[Agent, tuple]:
    """An agent of three workers that has seen `events`; its last effects."""
    agent, effects = begin(Agent(3, PATIENCE))
    for event in events:
        agent, effects = step(agent, event)
    return agent, effects


def test_every_state_has_a_transition_for_every_event():
    assert set(TABLE) == set(State)
    assert {state: set(row) for state, row in TABLE.items()} == {state: set(EVENTS) for state in State}
    assert {type(event) for event in ONE_OF_EACH} == set(EVENTS)


@pytest.mark.parametrize("history", [(), (Formed(PLACE),), (Formed(PLACE), FAILED), (Formed(PLACE), ended(0))])
@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_any_event_in_any_reachable_state_is_answered(history, event):
    agent, effects = step(after(*history)[0], event)

    assert isinstance(agent.state, State)
    assert isinstance(effects, tuple)


def test_a_launch_joins_starts_and_waits_for_the_others_at_the_end():
    assert after()[1] == (Join(),)
    assert after(Formed(PLACE))[1] == (Start(PLACE),)
    agent, effects = after(Formed(PLACE), ended(2), ended(0), ended(1))
    assert agent.state is State.FINISHING
    assert effects == (Sweep(), Arm(Alarm.BARRIER, 9), TellFinished(0))
    agent, effects = step(agent, Over(True, "all workers succeeded"))
    assert (agent.state, effects) == (State.DONE, (Disarm(),))


def test_a_failed_worker_stops_the_others_and_the_meeting_is_told_at_once():
    agent, effects = after(Formed(PLACE), FAILED)

    assert effects == (TellFailed(0, WHY), Say(FAILED), Look(0, (0, 2), WHY), Arm(Alarm.LOOK, 2))
    assert agent.failures == (FAILED.exit,)
    assert step(agent, SEEN)[1] == (Kill(SIGTERM, (0, 2)), Arm(Alarm.GRACE, 5))


def test_a_pause_before_a_restart_ends_with_its_alarm():
    agent, _ = after(Formed(PLACE), FAILED, ended(0), ended(2), Regroup(0, WHY, restart=True))

    assert step(agent, Rang(Alarm.BACKOFF)) == (agent, (Join(),))
    assert step(agent, Rang(Alarm.GRACE)) == (agent, ())


@pytest.mark.parametrize("verdict_first", [True, False])
def test_a_granted_restart_joins_again_once_the_workers_are_gone(verdict_first):
    again = Regroup(0, WHY, restart=True)
    stops = [ended(0, -15, stopped=True), ended(2, 0, stopped=True)]
    agent, effects = after(Formed(PLACE), FAILED, *([again, *stops] if verdict_first else [*stops, again]))

    assert agent.state is State.JOINING
    assert effects == ((Disarm(), Sweep(), Join(True)) if verdict_first else (Disarm(), Say(again), Join(True)))


def test_what_becomes_of_a_failure_is_said_as_soon_as_it_is_known():
    again = Regroup(0, WHY, restart=True)

    assert after(Formed(PLACE), FAILED, again)[1] == (Say(again),)
    assert after(Formed(PLACE), FAILED, Signalled(SIGTERM), again)[1] == ()


def test_a_failure_without_a_restart_left_ends_the_run():
    agent, _ = after(Formed(PLACE), FAILED, Over(False, WHY), ended(0, -15, True), ended(2, -15, True))

    assert (agent.state, agent.verdict) == (State.DONE, Over(False, WHY))


CUT = Cut("no answer")
ASKED = Over(False, WHY, verdict={"node": "b"}, settled=False)
SETTLED = ASKED._replace(settled=True, aftermath=(("a", "x"),))
GONE = (ended(0, -15, True), ended(2, -15, True))


@pytest.mark.parametrize("asked_first", [True, False])
def test_who_is_asked_tells_what_it_knows_once_its_workers_are_gone_and_waits_for_the_verdict(asked_first):
    agent, effects = after(Formed(PLACE), FAILED, *((ASKED, *GONE) if asked_first else (*GONE, ASKED)))
    assert agent.state is State.AWAITING
    assert effects[-2:] == (TellKnown(0), Arm(Alarm.VERDICT, PATIENCE.verdict))
    assert step(agent, SETTLED) == (agent._replace(state=State.DONE, verdict=SETTLED), (Disarm(),))


@pytest.mark.parametrize("history", [(), (Formed(PLACE), ended(0), ended(1), ended(2))])
def test_a_node_without_workers_is_asked_too(history):
    agent, effects = after(*history, ASKED)
    assert agent.state is State.AWAITING
    assert TellKnown(agent.round) in effects


@pytest.mark.parametrize("event", [Rang(Alarm.VERDICT), CUT, Trouble(ConnectionError("gone"))])
def test_a_verdict_that_does_not_come_is_not_waited_for(event):
    agent, effects = after(Formed(PLACE), FAILED, ASKED, *GONE, event)
    assert (agent.state, agent.verdict, agent.error) == (State.DONE, ASKED, None)
    assert effects == (Disarm(),)


@pytest.mark.parametrize("verdict", [(), (ASKED,)])
def test_another_worker_that_fails_by_itself_is_told_of_at_once(verdict):
    _, effects = after(Formed(PLACE), FAILED, *verdict, ended(0, 1))
    assert effects == (TellKnown(0, 0),)


@pytest.mark.parametrize("event", [ended(0, -15, True), ended(0, 0), ended(0, 0, True)])
def test_who_was_stopped_or_ended_well_is_not(event):
    assert after(Formed(PLACE), FAILED, event)[1] == ()


def test_nothing_is_told_of_a_round_that_costs_a_restart():
    assert after(Formed(PLACE), FAILED, Regroup(0, WHY, restart=True), ended(0, 1))[1] == ()


def test_a_verdict_that_is_settled_while_workers_are_stopped_is_the_last_word():
    agent, effects = after(Formed(PLACE), FAILED, ASKED, SETTLED, *GONE)
    assert (agent.state, agent.verdict, effects) == (State.DONE, SETTLED, (Disarm(), Sweep()))


def test_workers_that_ignore_the_polite_signal_are_killed_after_the_grace():
    agent, effects = after(Formed(PLACE), FAILED, SEEN, ended(0, -15, True), Rang(Alarm.GRACE))
    assert effects == (AskMore(0, (2,)),)
    _, effects = step(agent, Wants(0))

    assert effects == (Say(Rang(Alarm.GRACE)), Kill(SIGKILL, (2,)), Arm(Alarm.REAP, 7))


SURVIVED = (Formed(PLACE), FAILED, SEEN, Rang(Alarm.GRACE), Wants(0), Rang(Alarm.REAP))


def test_workers_that_survive_sigkill_do_not_hold_the_launcher():
    agent, effects = after(*SURVIVED)
    assert effects == (Examine(0, (0, 2)),)
    agent, effects = step(agent, STUCK)
    assert effects == (Say(STUCK), Arm(Alarm.REAP, 8))
    agent, effects = after(*SURVIVED, STUCK, ended(2, -9, True), Rang(Alarm.REAP), STUCK)
    left = STUCK._replace(remains=STUCK.remains[:1])

    assert agent.state is State.DONE
    assert (agent.error.local_ranks, agent.remains) == ((0,), left.remains)
    assert effects == (Say(left._replace(leaves=True)), Disarm(), Sweep(), Leave(str(agent.error)))
    assert "local rank 0 (pid 100) is uninterruptible in nfs" in str(agent.error)


@pytest.mark.parametrize("end", [Over(False, WHY), Trouble(ConnectionError("gone")), Signalled(SIGTERM)])
def test_a_job_that_ends_does_not_wait_for_them_and_ends_of_what_it_did(end):
    before, _ = after(*SURVIVED[:3], end, *SURVIVED[3:])
    agent, effects = step(before, STUCK)
    assert (agent.state, agent.remains) == (State.DONE, STUCK.remains)
    assert effects[0] == Say(STUCK._replace(leaves=True))
    assert agent.error is (end.error if isinstance(end, Trouble) else None)


def test_workers_that_the_kernel_is_taking_down_are_waited_for_a_little():
    going = Examined(0, tuple(one._replace(going=True) for one in STUCK.remains))
    agent, effects = after(*SURVIVED[:3], Over(False, WHY), *SURVIVED[3:], going)
    assert effects == (Say(going), Arm(Alarm.REAP, 8))
    assert step(step(agent, Rang(Alarm.REAP))[0], going)[0].state is State.DONE


def test_what_is_left_of_another_round_or_of_nobody_is_no_news():
    before, _ = after(*SURVIVED)
    assert step(before, STUCK._replace(round=7)) == (before, ())
    assert step(before, Examined(0)) == (before, ())


def test_a_signal_is_forwarded_and_a_second_one_kills_at_once():
    agent, effects = after(Formed(PLACE), Signalled(SIGINT))
    leaving = Leaving("stopped by signal 2")
    assert effects == (Kill(SIGINT, (0, 1, 2)), Arm(Alarm.GRACE, 5), leaving, Say(Signalled(SIGINT)))

    agent, effects = step(agent, Signalled(SIGINT))
    assert effects == (Say(Signalled(SIGINT)), Kill(SIGKILL, (0, 1, 2)), Arm(Alarm.REAP, 7))


@pytest.mark.parametrize(
    ("history", "live"),
    [((Formed(PLACE),), (0, 1, 2)), ((Formed(PLACE), ended(1)), (0, 2)), ((Formed(PLACE), FAILED), (0, 2)),
     ((Formed(PLACE), Signalled(SIGTERM), ended(0, 0, True)), (1, 2))],
)  # fmt: skip
def test_a_signal_for_the_workers_reaches_those_that_live_and_changes_nothing(history, live):
    before, _ = after(*history)
    agent, effects = step(before, Forwarded(SIGUSR1))

    assert agent == before
    assert effects == (Pass(SIGUSR1, live), Say(Forwarded(SIGUSR1, len(live))))


ALL_ENDED = (Formed(PLACE), ended(0), ended(1), ended(2))
STOPPED = (Formed(PLACE), FAILED, ended(0, -15, True), ended(2, -15, True))


@pytest.mark.parametrize(
    ("history", "state"),
    [((), State.JOINING), (STOPPED, State.AWAITING), ((*STOPPED, Regroup(0, WHY, True)), State.JOINING),
     (ALL_ENDED, State.FINISHING)],
)  # fmt: skip
def test_a_signal_for_the_workers_is_said_to_be_lost_where_there_are_none(history, state):
    before, _ = after(*history)
    assert before.state is state
    assert step(before, Forwarded(SIGUSR1)) == (before, (Say(Forwarded(SIGUSR1, 0)),))


def test_a_signal_for_the_workers_of_a_job_that_is_over_is_nobodys():
    done, _ = after(Over(True, "all workers succeeded"))
    assert step(done, Forwarded(SIGUSR1)) == (done, ())


def test_a_signal_while_workers_are_stopped_for_a_failure_ends_the_run_as_signalled():
    agent, effects = after(Formed(PLACE), FAILED, SEEN, Regroup(0, WHY, True), Signalled(SIGTERM))
    assert effects == (Say(Signalled(SIGTERM)), Kill(SIGTERM, (0, 2)))

    agent, _ = step(agent, ended(0, -15, True))
    agent, effects = step(agent, ended(2, -15, True))
    assert (agent.state, agent.signal) == (State.DONE, SIGTERM)
    assert effects == (Disarm(), Sweep(), Leave("stopped by signal 15"))


@pytest.mark.parametrize("history", [(), (Formed(PLACE), ended(0), ended(1), ended(2))])
def test_a_signal_with_no_worker_alive_leaves_at_once(history):
    agent, effects = after(*history, Signalled(SIGTERM))

    assert (agent.state, agent.signal) == (State.DONE, SIGTERM)
    assert effects[-1] == Leave("stopped by signal 15")


def test_a_regroup_stops_the_workers_and_joins_again():
    change = Regroup(0, "host-b joined")
    agent, effects = after(Formed(PLACE), change)
    assert effects == (Kill(SIGTERM, (0, 1, 2)), Arm(Alarm.GRACE, 5), Say(change))

    agent, effects = after(Formed(PLACE), change, *(ended(i, -15, True) for i in range(3)))
    assert agent.state is State.JOINING
    assert effects == (Disarm(), Sweep(), Join())


def test_a_regroup_of_another_round_is_old_news():
    agent, effects = after(Formed(PLACE), Regroup(-1, "old"))

    assert (agent.state, effects) == (State.RUNNING, ())


def test_a_node_that_finished_starts_again_when_another_failed():
    again = Regroup(0, "rank 5 failed", restart=True)
    agent, effects = after(Formed(PLACE), ended(0), ended(1), ended(2), again)

    assert (agent.state, effects) == (State.JOINING, (Disarm(), Say(again), Join(restart=True)))


def test_a_group_that_hangs_is_stopped_and_an_alarm_of_an_earlier_round_is_not_heard():
    hung = Hung("no heartbeat", 0)
    _, effects = after(Formed(PLACE), hung)
    look = Look(0, (0, 1, 2), "no heartbeat")
    assert effects == (TellFailed(0, "no heartbeat"), Say(hung), look, Arm(Alarm.LOOK, 2))

    late = PLACE._replace(round=1)
    assert after(Formed(late), hung)[1] == ()


def test_a_watch_that_only_reports_changes_nothing_but_what_is_said():
    stalled = Stalled("no progress", 0, (1,))
    agent, effects = after(Formed(PLACE), stalled)
    assert (agent, effects) == (after(Formed(PLACE))[0], (Say(stalled),))
    assert after(Formed(PLACE), Stalled("no progress", 7))[1] == ()


def test_a_hang_may_end_the_job_and_names_whom_it_is_about():
    hung = Hung("no heartbeat", 0, (2,), final=True)
    agent, effects = after(Formed(PLACE), hung)
    assert effects[:2] == (TellFailed(0, "no heartbeat", final=True), Say(hung))
    assert agent.hung_ranks == (2,)


def test_a_group_that_cannot_start_ends_the_run_but_not_the_job():
    error = OSError("no such program")
    agent, effects = after(Formed(PLACE), StartFailed(error))

    assert (agent.state, agent.error) == (State.DONE, error)
    assert effects == (Disarm(), Sweep(), Leave("no such program"))


def test_trouble_at_the_exit_barrier_does_not_take_the_success_back():
    agent, _ = after(Formed(PLACE), ended(0), ended(1), ended(2), Trouble(ConnectionError("gone")))

    assert (agent.state, agent.error, agent.verdict.succeeded) == (State.DONE, None, True)


def test_a_spare_that_was_not_needed_is_done_without_an_error():
    over = Over(True, "the job succeeded")
    agent, _ = after(Waiting(2, 1, 2, "spare"), over)

    assert (agent.state, agent.verdict, agent.error) == (State.DONE, over, None)


# --- cut off ---------------------------------------------------------------------------------------------


def test_a_node_that_is_cut_off_kills_its_workers_and_joins_again():
    agent, effects = after(Formed(PLACE), CUT)
    assert effects == (Say(CUT), Kill(SIGKILL, (0, 1, 2)), Arm(Alarm.REAP, 7))

    agent, effects = after(Formed(PLACE), CUT, *(ended(rank, -9, stopped=True) for rank in range(3)))
    assert (agent.state, effects) == (State.JOINING, (Disarm(), Sweep(), Join()))


def test_workers_that_are_asked_to_stop_are_killed_when_the_node_is_cut_off():
    _, effects = after(Formed(PLACE), Regroup(0, "host-b joined"), ended(1, -15, stopped=True), CUT)
    assert effects == (Say(CUT), Kill(SIGKILL, (0, 2)), Arm(Alarm.REAP, 7))


def test_a_node_that_is_told_the_end_and_then_cut_off_does_not_join_again():
    agent, _ = after(Formed(PLACE), Over(False, "boom"), CUT, *(ended(rank, -9, stopped=True) for rank in range(3)))
    assert agent.state is State.DONE


def test_a_node_that_failed_and_is_cut_off_before_the_verdict_joins_again():
    agent, effects = after(Formed(PLACE), FAILED, ended(0, -15, stopped=True), ended(2, -15, stopped=True), CUT)
    assert (agent.state, effects) == (State.JOINING, (Disarm(), Say(CUT), Join()))


def test_at_the_exit_barrier_a_cut_changes_nothing():
    agent, effects = after(Formed(PLACE), ended(0), ended(1), ended(2), CUT)
    assert (agent.state, effects) == (State.FINISHING, (Say(CUT),))


# --- a look before the end -------------------------------------------------------------------------------

HELD = (Formed(PLACE), FAILED)
TERM = (Kill(SIGTERM, (0, 2)), Arm(Alarm.GRACE, 5))


@pytest.mark.parametrize("end", [SEEN, Rang(Alarm.LOOK)])
def test_workers_are_asked_to_stop_once_they_were_looked_at_or_the_time_for_it_is_over(end):
    agent, effects = after(*HELD, end)
    assert (agent.state, agent.held, effects) == (State.STOPPING, None, TERM)
    assert step(agent, Rang(Alarm.LOOK))[1] == ()


def test_what_was_seen_is_kept_whenever_it_comes_until_the_next_start():
    assert after(*HELD, SEEN)[0].seen == SEEN
    assert after(*HELD, Rang(Alarm.LOOK), SEEN) == (after(*HELD, SEEN)[0], ())
    gone = (ended(0, -15, True), ended(2, -15, True))
    assert after(*HELD, Rang(Alarm.LOOK), *gone, SEEN)[0].seen == SEEN
    assert after(*HELD, SEEN, *gone, Regroup(0, WHY, True), Formed(PLACE._replace(round=1)))[0].seen is None


def test_what_was_seen_of_an_earlier_round_releases_nobody():
    late = PLACE._replace(round=1)
    assert after(Formed(late), FAILED, SEEN)[1] == ()


@pytest.mark.parametrize("told", [Regroup(0, "rank 5 failed", restart=True), Over(False, "rank 5 failed")])
def test_a_failure_elsewhere_is_a_reason_to_look_too(told):
    agent, effects = after(Formed(PLACE), told)
    assert effects == (Say(told), Look(0, (0, 1, 2), "rank 5 failed"), Arm(Alarm.LOOK, 2))
    assert step(agent, SEEN)[1] == (Kill(SIGTERM, (0, 1, 2)), Arm(Alarm.GRACE, 5))


@pytest.mark.parametrize(
    "event", [Regroup(0, "host-b joined"), Over(True, ""), Trouble(ConnectionError("gone")), Signalled(SIGINT), CUT]
)
def test_nothing_else_is(event):
    agent, effects = after(Formed(PLACE), event)
    assert agent.held is None
    assert not any(isinstance(effect, Look) for effect in effects)


def test_nobody_is_left_to_be_looked_at_when_the_last_worker_has_failed():
    agent, effects = after(Formed(PLACE), ended(0), ended(2), FAILED)
    assert agent.state is State.AWAITING
    assert not any(isinstance(effect, Look) for effect in effects)


def test_a_signal_does_not_wait_for_the_look():
    agent, effects = after(*HELD, Signalled(SIGINT))
    assert effects == (Say(Signalled(SIGINT)), Kill(SIGINT, (0, 2)), Arm(Alarm.GRACE, 5))
    assert step(agent, SEEN)[1] == step(agent, Rang(Alarm.LOOK))[1] == ()


def test_a_cut_does_not_wait_for_the_look():
    agent, effects = after(*HELD, CUT)
    assert effects == (Say(CUT), Kill(SIGKILL, (0, 2)), Arm(Alarm.REAP, 7))
    assert step(agent, SEEN)[1] == step(agent, Rang(Alarm.LOOK))[1] == ()


def test_workers_that_end_during_the_look_end_it():
    agent, effects = after(*HELD, ended(0, 1), ended(2, 1))
    assert (agent.state, effects) == (State.AWAITING, (TellKnown(0, 2), Disarm(), Sweep()))
    assert len(agent.failures) == 3


# --- preemption ------------------------------------------------------------------------------------------

NOTICE = "SIGUSR1 came"
TOLD = Over(False, f"{NOTICE} on host-b", requeue=True)
RUNS, STOPS, AWAITS, FINISHES = (Formed(PLACE),), (*HELD, SEEN), (*HELD, ended(0, 1), ended(2, 1)), ALL_ENDED


def is_preempted(agent: Agent, notice: str = NOTICE) -> bool:
    return isinstance(agent.error, PreemptedError) and agent.error.notice == notice


def test_a_preempted_job_is_told_everywhere_runs_its_errands_and_then_stops():
    agent, effects = after(*RUNS, Preempted(NOTICE))
    assert effects == (Say(Preempted(NOTICE)), Requeue(NOTICE), Warn(NOTICE), Arm(Alarm.WARN, 5))
    agent, effects = step(agent, Warned())
    assert effects == (Kill(SIGTERM, (0, 1, 2)), Arm(Alarm.GRACE, 5))
    for rank in range(3):
        agent, effects = step(agent, ended(rank, 0, True))
    assert (agent.state, effects[:2]) == (State.DONE, (Disarm(), Sweep()))
    assert is_preempted(agent)


def test_a_node_that_is_told_of_a_preemption_does_the_same_and_tells_nobody():
    agent, effects = after(*RUNS, TOLD)
    assert effects == (Say(TOLD), Warn(TOLD.reason), Arm(Alarm.WARN, 5))
    assert is_preempted(agent, TOLD.reason)


def test_errands_have_the_time_of_the_grace():
    late = Rang(Alarm.WARN)
    agent, effects = after(*RUNS, Preempted(NOTICE), late)
    assert effects == (Say(late), Kill(SIGTERM, (0, 1, 2)), Arm(Alarm.GRACE, 5))
    assert step(agent, Warned())[1] == ()


@pytest.mark.parametrize("history", [(), AWAITS, FINISHES, (*RUNS, Preempted(NOTICE), *(ended(i) for i in range(3)))])
@pytest.mark.parametrize("end", [Warned(), Rang(Alarm.WARN), Signalled(SIGTERM)])
def test_where_no_worker_is_alive_only_the_errands_are_waited_for(history, end):
    agent, _ = after(*history, Preempted(NOTICE))
    assert agent.state is State.STOPPING
    agent, effects = step(agent, end)
    assert agent.state is State.DONE
    assert not any(isinstance(effect, Kill) for effect in effects)
    assert is_preempted(agent)


@pytest.mark.parametrize("history", [(), AWAITS, FINISHES])
def test_it_is_the_same_where_another_node_says_so(history):
    agent, effects = after(*history, TOLD)
    assert (agent.state, effects) == (State.STOPPING, (Say(TOLD), Warn(TOLD.reason), Arm(Alarm.WARN, 5)))


def test_workers_that_are_being_stopped_already_are_not_asked_twice():
    agent, effects = after(*STOPS, Preempted(NOTICE))
    assert effects == (Say(Preempted(NOTICE)), Requeue(NOTICE), Warn(NOTICE), Arm(Alarm.WARN, 5))
    assert step(agent, Warned())[1] == ()
    agent, _ = step(agent, ended(0, -15, True))
    agent, effects = step(agent, ended(2, -15, True))
    assert (agent.state, effects) == (State.STOPPING, ())  # the errands are not done
    assert step(agent, Warned())[0].state is State.DONE


def test_a_notice_during_the_look_is_what_is_waited_for_then():
    agent, _ = after(*HELD, Preempted(NOTICE))
    agent, effects = step(agent, SEEN)
    assert (agent.seen, effects) == (SEEN, ())
    assert step(agent, Warned())[1] == TERM


@pytest.mark.parametrize(
    "history",
    [(*RUNS, Signalled(SIGTERM)), (*HELD, Over(False, WHY)), (*RUNS, Trouble(ConnectionError("gone"))),
     (*RUNS, Preempted(NOTICE))],
)  # fmt: skip
@pytest.mark.parametrize("event", [Preempted("again"), TOLD])
def test_a_job_that_ends_already_goes_on_ending_of_what_it_did(history, event):
    before, _ = after(*history)
    assert step(before, event) == (before, ())


def test_the_signal_that_follows_a_notice_stops_at_once_kills_nobody_and_changes_no_exit_code():
    agent, effects = after(*RUNS, Preempted(NOTICE), Signalled(SIGTERM))
    assert effects == (Say(Signalled(SIGTERM)), Kill(SIGTERM, (0, 1, 2)), Arm(Alarm.GRACE, 5))
    for rank in range(3):
        agent, effects = step(agent, ended(rank, 0, True))
    assert effects == (Disarm(), Sweep(), Leave(str(agent.error)))
    assert is_preempted(agent)


def test_a_cut_kills_the_workers_of_a_preempted_job_and_ends_no_errand():
    assert after(*RUNS, Preempted(NOTICE), CUT)[1] == (Say(CUT), Kill(SIGKILL, (0, 1, 2)), Arm(Alarm.REAP, 7))
    agent, effects = after(*FINISHES, Preempted(NOTICE), CUT)
    assert (agent.held, effects) == (Alarm.WARN, (Say(CUT),))


# --- more time -------------------------------------------------------------------------------------------

LATE = (*STOPS, Rang(Alarm.GRACE))
KILLED = (Say(Rang(Alarm.GRACE)), Kill(SIGKILL, (0, 2)), Arm(Alarm.REAP, 7))


def test_a_worker_that_asks_for_more_time_gets_it_and_the_others_are_killed():
    asked = Wants(0, ((2, 4.0),))
    agent, effects = after(*LATE, asked)
    assert effects == (Say(asked), Kill(SIGKILL, (0,)), Arm(Alarm.GRACE, 4.0))
    assert step(agent, ended(0, -9, True)) == (step(agent, ended(0, -9, True))[0], ())
    agent, effects = step(agent, Rang(Alarm.GRACE))
    assert effects == (AskMore(0, (0, 2)),)
    assert step(agent, Wants(0))[1] == KILLED


def test_the_shortest_wish_is_when_it_is_looked_again():
    assert after(*LATE, Wants(0, ((0, 9.0), (2, 3.0))))[1][-1] == Arm(Alarm.GRACE, 3.0)
    assert after(*LATE, Wants(0, ((0, 9.0), (2, 0.001))))[1][-1] == Arm(Alarm.GRACE, 0.1)


def test_there_is_no_more_than_the_bound():
    agent, effects = after(*LATE, Wants(0, ((0, 100.0), (2, 100.0))))
    assert effects[-1] == Arm(Alarm.GRACE, 15.0)
    assert step(agent, Rang(Alarm.GRACE))[1] == KILLED


def test_wishes_of_the_dead_of_another_round_and_of_the_killed_are_not_heard():
    assert after(*LATE, Wants(0, ((1, 5.0),)))[1] == KILLED
    before, _ = after(*LATE)
    assert step(before, Wants(7, ((0, 5.0),))) == (before, ())
    killed, _ = after(*LATE, CUT)
    assert step(killed, Wants(0, ((0, 5.0),))) == (killed, ())


def test_a_grace_of_nothing_has_nothing_to_add():
    agent, _ = begin(Agent(3, PATIENCE._replace(grace=0, most=0)))
    for event in (*RUNS, Signalled(SIGTERM)):
        agent, _ = step(agent, event)
    assert step(agent, Rang(Alarm.GRACE))[1][1] == Kill(SIGKILL, (0, 1, 2))
