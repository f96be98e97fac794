"""Which failures are worth another start, and after which pause."""

from __future__ import annotations

import pytest

from launcher_core.model.news import Cut, Regroup
from launcher_core.model.settings import Retry
from launcher_core.rules.python_error import PythonError
from launcher_core.rules.retry import EARLY_SECONDS, LONGEST_BACKOFF, Broke, Ledger, broke_of

TWICE = "not tried again: the same failure twice at the start (--retry-same-failure would)"
WHY = "rank 0 (local rank 0, pid 7) exited with code 1 on node-a: "
KEY = Broke("KeyError", "KeyError: 'x'", 1.0)


def after(broke: Broke, seconds: float = 1.0, policy: Retry | None = None) -> Ledger:
    """The ledger of an agent that has seen one restart, of a group that ran for so long and broke so."""
    ledger = Ledger(policy or Retry())
    ledger.formed(0, 100.0)
    ledger.heard(Regroup(0, WHY + broke.summary, True, 1, 3), 100.0 + seconds)
    ledger.formed(1, 100.0 + seconds)
    return ledger


def test_a_first_failure_is_tried_again():
    ledger = Ledger(Retry())
    ledger.formed(0, 0.0)

    assert ledger.refusal(KEY) == ""


def test_the_same_exception_twice_at_the_start_is_not():
    assert after(KEY).refusal(KEY) == TWICE


@pytest.mark.parametrize("policy", [Retry(same_failure=True)])
def test_unless_the_user_wants_it(policy: Retry):
    assert after(KEY, policy=policy).refusal(KEY) == ""


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(KEY._replace(summary="KeyError: 'y'"), id="another message"),
        pytest.param(KEY._replace(uptime=EARLY_SECONDS), id="later"),
        pytest.param(KEY._replace(printed=True), id="work had begun"),
        pytest.param(Broke(uptime=1.0), id="no exception known"),
    ],
)
def test_a_second_failure_that_differs_is_tried_again(second: Broke):
    assert after(KEY).refusal(second) == ""


def test_a_first_failure_after_a_while_has_done_some_work():
    assert after(KEY, seconds=EARLY_SECONDS).refusal(KEY) == ""


@pytest.mark.parametrize(
    "type",
    ["OSError", "ConnectionRefusedError", "TimeoutError", "urllib.error.HTTPError", "torch.OutOfMemoryError",
     "torch.distributed.DistBackendError", "socket.gaierror", "MemoryError", "requests.exceptions.ConnectionError",
     "KeyboardInterrupt"],
)  # fmt: skip
def test_what_may_pass_by_itself_is_tried_again(type: str):
    broke = KEY._replace(type=type, summary=f"{type}: gone")

    assert after(broke).refusal(broke) == ""


@pytest.mark.parametrize("type", ["ModuleNotFoundError", "SyntaxError", "RuntimeError", "mine.ShapeError"])
def test_what_a_program_says_of_itself_does_not_pass(type: str):
    broke = KEY._replace(type=type, summary=f"{type}: gone")

    assert after(broke).refusal(broke) == TWICE


@pytest.mark.parametrize("between", [Regroup(1, "node-b joined"), Cut("cut off")])
def test_a_change_of_nodes_in_between_makes_it_another_attempt(between: Regroup | Cut):
    ledger = after(KEY)
    ledger.heard(between, 102.0)
    ledger.formed(1, 103.0)

    assert ledger.refusal(KEY) == ""


def test_a_group_that_fails_too_early_is_not_tried_again_at_all():
    ledger = Ledger(Retry(min_uptime=60.0))

    assert ledger.refusal(KEY) == "not tried again: it ran for 1.0 s (--restart-min-uptime=60)"
    assert ledger.refusal(KEY._replace(uptime=60.0)) == ""


# --- the window


def test_restarts_count_for_ever_without_a_window():
    assert after(KEY).forgiven(1e9) == 0


def test_restarts_outside_of_the_window_are_forgiven_one_by_one():
    ledger = Ledger(Retry(window=100.0))
    ledger.formed(0, 0.0)
    for count, now in (1, 10.0), (2, 50.0):
        ledger.heard(Regroup(count, WHY, True, count, 3), now)
        ledger.formed(count, now + 1.0)

    assert [ledger.forgiven(now) for now in (109.0, 110.0, 149.0, 150.0)] == [0, 1, 1, 2]


def test_a_newcomer_counts_what_was_spent_before_from_when_it_came():
    ledger = Ledger(Retry(window=100.0))
    ledger.formed(2, 1000.0)

    assert (ledger.forgiven(1099.0), ledger.forgiven(1100.0)) == (0, 2)


# --- pauses


def pauses(policy: Retry, count: int, every: float = 1.0) -> list[float]:
    """The pauses before so many restarts, one `every` so many seconds."""
    ledger = Ledger(policy)
    ledger.formed(0, 0.0)
    found = []
    for number in range(1, count + 1):
        now = number * every
        ledger.heard(Regroup(number, WHY, True, number, 9), now)
        found.append(ledger.pause(now))
        ledger.formed(number, now)
    return found


def test_there_is_no_pause_unless_one_is_wanted():
    assert pauses(Retry(), 2) == [0.0, 0.0]


def test_each_pause_is_twice_the_one_before_up_to_the_longest():
    assert pauses(Retry(backoff=2.0, backoff_max=10.0), 5) == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert pauses(Retry(backoff=2.0), 9)[-2:] == [2.0 * LONGEST_BACKOFF] * 2


def test_what_the_window_forgives_makes_the_pause_short_again():
    assert pauses(Retry(backoff=2.0, window=10.0), 4, every=10.0) == [2.0] * 4


# --- what is known of a failure


TRACEBACK = "Traceback (most recent call last):\n  File 'a.py', line 1\nKeyError: 'x'\n"
ERROR = PythonError("KeyError", "'x'", None, tuple(TRACEBACK.splitlines()))


@pytest.mark.parametrize(
    ("error", "stderr", "broke"),
    [
        pytest.param(None, TRACEBACK, Broke(uptime=2.0), id="no exception"),
        pytest.param(ERROR, TRACEBACK, Broke("KeyError", "KeyError: 'x'", 2.0), id="nothing before it"),
        pytest.param(ERROR, f"\n{TRACEBACK}", Broke("KeyError", "KeyError: 'x'", 2.0), id="an empty line"),
        pytest.param(ERROR, f"epoch 1\n{TRACEBACK}", Broke("KeyError", "KeyError: 'x'", 2.0, True), id="a line"),
        pytest.param(ERROR, "", Broke("KeyError", "KeyError: 'x'", 2.0, True), id="its output is not seen"),
        pytest.param(ERROR._replace(lines=()), "", Broke("KeyError", "KeyError: 'x'", 2.0, True), id="recorded only"),
    ],
)
def test_what_was_printed_before_an_exception_is_a_sign_of_life(error: PythonError | None, stderr: str, broke: Broke):
    assert broke_of(error, stderr, 2.0) == broke
