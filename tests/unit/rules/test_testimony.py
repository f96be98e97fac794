"""What nodes tell each other of a failure: whole, small, sound, and which of two is believed."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from launcher_core.rules.blame import Failed, shows_why
from launcher_core.rules.python_error import Frame, PythonError, find_exception
from launcher_core.rules.testimony import MOST, believed, failed_of, is_sound, last_word, statement, weight, why

TRACE = 'Traceback (most recent call last):\n  File "/a/t.py", line 3, in work\n    raise it\nValueError: bad'
LINES = tuple(TRACE.split("\n"))
ERROR = PythonError("ValueError", "bad", Frame("/a/t.py", 3, "work", "raise it"), LINES)
LOST = PythonError("ConnectionResetError", "Connection reset by peer")


def failed(rank: int = 1, code: int = 1, **more: Any) -> Failed:
    return Failed(rank, rank % 2, 100 + rank, code, 5.0, **more)


def told(node: str = "a", rank: int = 1, code: int = 3, **more: Any) -> dict[str, Any]:
    return statement(node, failed(rank, code, **more))


OWN = told("a", 1)
ECHO = told("b", 2, 1, error=LOST)
SHOWN = told("c", 3, -15, stopped=True, error=ERROR, stderr=TRACE)
STOPPED = told("d", 4, -15, stopped=True)
HANG = statement("f", kind="hang", text="no progress for 60 s")
NAMED = statement("g", failed(9, -15, stopped=True), kind="hang", text="rank 9 stands still", apart=True)
LOST_NODE = statement("e", kind="node_lost", text="e is gone")


# --- there and back --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "one",
    [
        failed(error=ERROR, stderr="a\n" + TRACE, error_file="/logs/1/error.json"),
        failed(code=3, seen=ERROR._replace(lines=()), problem="cut short"),
        failed(code=-9, out_of_memory=True),
        failed(code=-15, stopped=True, message="said so"),
        failed(error=PythonError("SyntaxError", "no", None, ("é",))),
    ],
)
def test_a_worker_is_the_same_where_it_is_read(one: Failed) -> None:
    sent = json.loads(json.dumps(statement("node-1", one, age=0.5, again="RANK=1 python t.py")))
    assert is_sound(sent)
    assert failed_of(sent) == one
    assert (sent["node"], sent["age"], sent["again"]) == ("node-1", 0.5, "RANK=1 python t.py")


def test_what_befell_a_node_has_no_worker() -> None:
    assert is_sound(LOST_NODE)
    assert failed_of(LOST_NODE) is None


def test_an_age_is_never_negative_whatever_was_done_to_the_clock() -> None:
    assert statement("a", failed(), age=-600.0)["age"] == 0.0


HUGE = "é€😀" * 40_000


@pytest.mark.parametrize("text", ["x" * 100_000, HUGE, "\udcff\x00" * 50_000, "\n".join(["line"] * 9_000)])
def test_it_is_small_however_much_a_worker_said(text: str) -> None:
    error = PythonError(text, text, Frame(text, 1 << 70, text, text), tuple(text.split("\n")) * 50)
    one = failed(message=text, stderr=text, error_file=text, problem=text, error=error._replace(frame=None))
    sent = statement(text, one, text=text, stdout=text, stderr=text, again=text)
    assert len(json.dumps(sent, separators=(",", ":"))) <= MOST
    assert is_sound(json.loads(json.dumps(sent)))
    assert failed_of(sent) is not None


def test_the_end_of_what_it_said_is_kept_and_so_are_both_ends_of_a_traceback() -> None:
    lines = ("Traceback", *(f'  File "/a/{n}.py", line {n}, in f{"x" * 200}' for n in range(500)), "ValueError: bad")
    sent = statement("a", failed(error=ERROR._replace(lines=lines), stderr="\n".join(["x" * 290] * 90 + ["last"])))
    assert (sent["stderr"][-1], sent["error"][3][0], sent["error"][3][-1]) == ("last", "Traceback", "ValueError: bad")


@pytest.mark.parametrize(
    "change",
    [
        {"node": None}, {"node": "\ud800"}, {"kind": 1}, {"text": None}, {"age": "1"}, {"age": True}, {"age": 1e300},
        {"rank": 1.0}, {"rank": 1 << 64}, {"pid": None}, {"exit_code": "3"}, {"at": None}, {"stopped": 1}, {"echo": 0},
        {"error": []}, {"error": ["a", "b", [1, 2, 3, 4], []]}, {"error": ["a", "b", ["f", "1", "", ""], []]},
        {"error": ["a", "b", None, [1]]}, {"stderr": "x"}, {"stderr": [1]}, {"files": []}, {"files": [None] * 3},
        {"again": 5}, {"reason": 7}, {"more": "x" * 40_000},
    ],
)  # fmt: skip
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    assert is_sound(OWN)
    assert not is_sound({**OWN, **change})
    assert not is_sound([OWN])


def test_a_field_that_is_not_known_may_be_there() -> None:
    assert is_sound({**OWN, "color": "blue"})


# --- which one is believed -------------------------------------------------------------------------------


def test_weights() -> None:
    assert [weight(one) for one in (STOPPED, ECHO, SHOWN, HANG, NAMED, OWN, LOST_NODE)] == [0, 1, 2, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("old", "new", "gap", "is_believed"),
    [
        (None, ECHO, None, True),
        (ECHO, OWN, 0.9, True),
        (ECHO, OWN, 1.1, False),  # too late to have been the reason
        (ECHO, OWN, None, True),
        (ECHO, SHOWN, 0.5, True),
        (ECHO, LOST_NODE, None, True),
        (ECHO, STOPPED, -5.0, False),  # what was killed is never the cause
        (OWN, STOPPED, -5.0, False),
        (OWN, SHOWN, -5.0, False),
        (OWN, ECHO, -5.0, False),
        (SHOWN, OWN, 9.0, True),
        (HANG, NAMED, 0.5, True),
        (NAMED, HANG, -0.5, False),
        (HANG, ECHO, -0.5, False),
        (OWN, told("f", 7), 0.1, False),
        (OWN, told("f", 7), -0.1, True),  # it was told of later, and happened before
        (OWN, told("f", 7), None, False),
        (ECHO, told("f", 7, 1, error=LOST), -0.1, True),
        (OWN, told("a", 1, error=ERROR), 5.0, True),  # the same worker, of which more is known now
        (OWN, told("a", 1, 1, error=LOST), 0.0, False),
    ],
)
def test_which_of_two_is_believed(old: Any, new: dict[str, Any], gap: float | None, is_believed: bool) -> None:
    old_at, new_at = (None, None) if gap is None else (100.0, 100.0 + gap)
    assert believed(old, old_at, new, new_at) is is_believed


def test_no_wall_clock_of_a_node_has_a_say() -> None:
    late, early = ({**one, "at": at} for one, at in ((OWN, 5.0e8), (told("f", 7), -5.0e8)))
    assert not believed(late, 100.0, early, 100.1)
    assert not believed(early, 100.0, late, 100.1)
    assert believed(late, 100.0, early, 99.9)
    assert believed(early, 100.0, late, 99.9)


def test_the_verdict_says_why() -> None:
    first = {**ECHO, "reason": why(None, ECHO)}
    assert first["reason"] == "rank 2 on b failed first, as far as any node has told"
    assert why(first, OWN).startswith("rank 2 on b was told of before, but failed of a lost connection")
    assert why(first, SHOWN).endswith("; rank 3 on c had printed why when it was stopped")
    assert why(OWN, told("f", 7)) == "rank 7 on f failed first; rank 1 on a, which was told of before, did so later"
    assert "no node has told of another failure" in last_word(first)["reason"]
    assert last_word(OWN) == OWN


# --- whom the launcher stopped ---------------------------------------------------------------------------


def stopped(stderr: str, **more: Any) -> Failed:
    return failed(code=-signal.SIGTERM, stopped=True, stderr=stderr, error=find_exception(stderr), **more)


@pytest.mark.parametrize(
    ("one", "shows"),
    [
        (stopped(TRACE), True),
        (stopped(TRACE + "\n\n"), True),
        (stopped(TRACE + "\nstep 17: loss 0.3"), False),  # it went on: that exception was handled
        (stopped(TRACE + "\nstep 17", error_file="/logs/error.json"), True),
        (stopped("step 17"), False),
        (stopped(TRACE.replace("ValueError: bad", "KeyboardInterrupt")), False),
        (stopped(TRACE.replace("ValueError: bad", "ConnectionResetError: Connection reset by peer")), False),
        (
            stopped(TRACE.replace("ValueError: bad", "RuntimeError: worker (pid 7) is killed by signal: Terminated.")),
            False,
        ),
    ],
)
def test_a_worker_that_was_stopped_shows_why_only_when_that_is_its_last_word(one: Failed, shows: bool) -> None:
    assert shows_why(one) is shows
