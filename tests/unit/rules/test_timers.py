"""torch elastic's timers: lines in, what has run out of time out."""

from __future__ import annotations

import json

import pytest

from launcher_core.rules.timers import Timer, Timers, due, parse, seconds_left, take

LINE = {"version": 1, "pid": 7, "scope_id": "train.py#41", "expiration_time": 1795.5, "signal": 9}
A, B = Timer(7, "a", 100.0, 9), Timer(7, "b", 90.0, 15)


def held(*timers: Timer) -> Timers:
    found: Timers = {}
    for timer in timers:
        found = take(found, timer)
    return found


def test_a_line_of_torchs_client_is_a_timer() -> None:
    assert parse(json.dumps(LINE).encode()) == Timer(7, "train.py#41", 1795.5, 9)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"pid": "7"}, {"pid": 0}, {"pid": 1}, {"pid": -7}, {"pid": True}, {"scope_id": None},
        {"expiration_time": "soon"}, {"expiration_time": float("nan")}, {"signal": 65}, {"signal": "KILL"},
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no "):
        parse(json.dumps({**LINE, **change}).encode())


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b"null", b"\xff\xfe", b'{"version": 1}', b"[" * 400])
def test_nonsense_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse(line)


def test_a_signal_below_0_is_none() -> None:
    assert parse(json.dumps({**LINE, "signal": -1}).encode()).signum == 0


def test_a_timer_is_set_again_and_taken_back_by_its_process_and_scope() -> None:
    assert held(A, A._replace(until=200.0)) == {(7, "a"): A._replace(until=200.0)}
    assert held(A, B, Timer(7, "a", -1.0, 0)) == {(7, "b"): B}
    assert held(A, Timer(8, "a", -1.0, 0)) == {(7, "a"): A}


def test_nothing_is_due_before_its_time() -> None:
    assert due(held(A, B), 89.9) == ((), held(A, B))
    assert (seconds_left(held(A, B), 80.0), seconds_left(held(A), 101.0), seconds_left({}, 80.0)) == (10.0, 0.0, None)


def test_of_one_process_the_first_that_ran_out_decides_the_signal_and_voids_the_others() -> None:
    other = Timer(8, "a", 500.0, 9)
    assert due(held(A, B, other, Timer(7, "c", 900.0, 9)), 200.0) == ((B,), held(other))


def test_a_timer_without_a_signal_is_told_once_and_voids_nothing() -> None:
    quiet = Timer(7, "quiet", 50.0, 0)
    assert due(held(quiet, A), 60.0) == ((quiet,), held(A))
    assert due(held(quiet, A), 100.0) == ((A,), {})
