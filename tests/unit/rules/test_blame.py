"""Which failure a report is about, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher_core.rules.blame import Failed, Root, choose_root, find_exception, is_echo, read_failure
from launcher_core.rules.python_error import HEADER, Frame, PythonError
from launcher_core.worker.failure import ProcessFailure

TEXTS = Path(__file__).parent / "stderr"
RESET = PythonError("ConnectionResetError", "[Errno 104] Connection reset by peer")
BAD = PythonError("ValueError", "bad batch 2")
FROM_RESET = (
    "Traceback (most recent call last):",
    "ConnectionResetError: [Errno 104] Connection reset by peer",
    "",
    "The above exception was the direct cause of the following exception:",
    "",
    "Traceback (most recent call last):",
    "RuntimeError: step 12",
)
CATCHES_RESETS = (
    "Traceback (most recent call last):",
    '  File "train.py", line 3, in step',
    "    except ConnectionResetError:",
    "ValueError: bad",
)


def stderr(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text(encoding="utf-8")


# --- choose_root -------------------------------------------------------------------------------------------


def failed(rank: int, at: float, exit_code: int = 1, stopped: bool = False, **more: Any) -> Failed:
    return Failed(rank, rank, 100 + rank, exit_code, at, stopped, **more)


def test_the_only_failure_is_the_root() -> None:
    assert choose_root([failed(3, 5.0)]) == Root(0, "rank 3 is the only worker that failed by itself")


def test_a_stopped_worker_is_never_blamed_while_another_failed_by_itself() -> None:
    stopped = failed(0, 1.0, -15, stopped=True, error=BAD)
    assert choose_root([stopped, failed(1, 5.0)]) == Root(
        1, "rank 1 is the only worker that failed by itself; the launcher stopped the others"
    )


def test_fractions_of_a_second_decide() -> None:
    assert choose_root([failed(0, 5.75), failed(1, 5.5)]) == Root(1, "rank 1 failed first, 250 ms before rank 0")


def test_the_first_failure_is_blamed_even_when_a_later_one_says_more() -> None:
    """Rank 1 exits without a word at 1 s, rank 0 raises and records it at 2.5 s."""
    assert choose_root([failed(0, 2.5, error=BAD), failed(1, 1.0, 66)]) == Root(
        1, "rank 1 failed first, 1.5 s before rank 0"
    )


def test_at_the_same_moment_a_lost_connection_yields_to_a_signal() -> None:
    assert choose_root([failed(0, 5.0, error=RESET), failed(1, 5.0, -9)]) == Root(
        1, "rank 1 and rank 0 failed at the same moment, but rank 0 of a lost connection"
    )


def test_at_the_same_moment_the_lower_rank_is_shown() -> None:
    assert choose_root([failed(2, 5.0), failed(1, 5.0)]) == Root(
        1, "rank 1 and rank 2 failed at the same moment; the lower rank is shown"
    )


def test_a_lost_connection_just_before_another_failure_is_its_echo() -> None:
    assert choose_root([failed(0, 5.0, error=RESET), failed(1, 5.5, error=BAD)]) == Root(
        1, "rank 0 failed 500 ms earlier, but of a lost connection, as follows from a peer's failure"
    )


def test_a_lost_connection_long_before_another_failure_is_the_root() -> None:
    root = choose_root([failed(0, 5.0, error=RESET), failed(1, 15.5, error=BAD)])
    assert root == Root(
        0,
        "rank 0 failed first, 10 s before rank 1; it lost a connection, so another worker, here or on "
        "another node, may have failed before it",
    )


RAISED = 'Traceback (most recent call last):\n  File "train.py", line 3, in step\nValueError: bad batch 2\n'


@pytest.mark.parametrize("said", [{"stderr": RAISED}, {"stderr": f"{RAISED}closing\n" * 2}, {"error_file": "e.json"}])
def test_when_only_connections_were_lost_the_one_stopped_with_an_exception_is_the_root(said: dict[str, str]) -> None:
    victim = failed(0, 5.2, -15, stopped=True, error=BAD, **said)
    assert choose_root([victim, failed(1, 5.0, error=RESET)]) == Root(
        0, "rank 1 failed first, but of a lost connection; rank 0 had raised, and was stopped before its end"
    )


@pytest.mark.parametrize(
    "stderr",
    [
        f"ERROR:root:will be tried again\n{RAISED}",
        f"2026-11-25 17:50:43,123 ERROR data: skipped\n{RAISED}",
        f"E1125 17:54:12.650000 8075 data.py:12] skipped\n{RAISED}",
        RAISED + "2026-11-25 17:50:43,123 INFO step\n" * 6,
        f"Exception ignored in: <function f>\n{RAISED}",
        "",
    ],
)
def test_an_exception_that_a_worker_has_handled_before_it_was_stopped_is_not_the_root(stderr: str) -> None:
    handled = failed(0, 5.2, -15, stopped=True, error=BAD, stderr=stderr)
    assert choose_root([handled, failed(1, 5.0, error=RESET)]).position == 1


def test_of_several_that_were_stopped_with_an_exception_none_is_the_root() -> None:
    """They may have raised because they were told to stop."""
    told = [failed(rank, 5.2, stopped=True, error=BAD, stderr=RAISED) for rank in (0, 2)]
    assert choose_root([*told, failed(1, 5.0, error=RESET)]) == Root(
        2,
        "rank 1 is the only worker that failed by itself; the launcher stopped the others; rank 0 had "
        "printed 'ValueError: bad batch 2' when the launcher stopped it",
    )


@pytest.mark.parametrize("error", [RESET, PythonError("SignalException", "15"), PythonError("KeyboardInterrupt", "")])
def test_one_that_raised_because_it_was_stopped_or_lost_a_connection_too_is_not_the_root(error: PythonError) -> None:
    told = failed(0, 5.2, stopped=True, error=error, error_file="e.json")
    assert choose_root([told, failed(1, 5.0, error=RESET)]).position == 1


def test_when_all_were_stopped_the_first_to_end_is_shown() -> None:
    both = [failed(0, 5.2, -15, stopped=True), failed(1, 5.1, -15, stopped=True)]
    assert choose_root(both) == Root(1, "the launcher stopped every worker; rank 1 ended first")


def test_no_failure_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no failure to choose from"):
        choose_root([])


@pytest.mark.parametrize(
    ("failure", "echo"),
    [
        (failed(0, 1.0, error=RESET), True),
        (failed(0, 1.0, error=PythonError("BrokenPipeError", "[Errno 32] Broken pipe")), True),
        (failed(0, 1.0, stderr="rank 3: Connection refused, giving up\n"), True),
        (failed(0, 1.0, message="RuntimeError: Connection closed by peer [10.0.0.1]:4711"), True),
        (failed(0, 1.0, -6, stderr="NCCL error: ncclRemoteError: remote process exited\n"), True),
        (failed(0, 1.0, error=PythonError("TimeoutError", "timed out")), True),
        (failed(0, 1.0, error=PythonError("RuntimeError", "[x.cc:78] Timed out waiting 1800000ms for recv")), True),
        (failed(0, 1.0, error=PythonError("EOFError", "")), True),
        (failed(0, 1.0, error=PythonError("RuntimeError", "unexpected end of stream")), True),
        (failed(0, 1.0, error=PythonError("RuntimeError", "step 12", lines=FROM_RESET)), True),
        (failed(0, 1.0, error=PythonError("EOFError", "Ran out of input")), False),
        (failed(0, 1.0, error=PythonError("TimeoutError", "no answer from the feature store")), False),
        (failed(0, 1.0, error=PythonError("ValueError", "bad", lines=CATCHES_RESETS)), False),
        (failed(0, 1.0, -9, stderr="warning: Connection refused, trying again\n"), False),
        (failed(0, 1.0, -11, stderr="Connection reset by peer\n"), False),
        (failed(0, 1.0, error=BAD, stderr="Connection refused, trying again\n"), False),
        (failed(0, 1.0), False),
    ],
)
def test_a_lost_connection_is_known_by_its_words(failure: Failed, echo: bool) -> None:
    assert is_echo(failure) is echo


def test_what_torch_prints_on_a_lost_peer_is_an_echo() -> None:
    assert is_echo(failed(0, 1.0, error=find_exception(stderr("peer_lost"))))
    assert is_echo(failed(0, 1.0, error=find_exception(stderr("store_refused"))))


# --- read_failure ------------------------------------------------------------------------------------------


def test_the_exception_is_taken_from_stderr_when_the_worker_recorded_none() -> None:
    text = stderr("value_error")
    assert read_failure(5, ProcessFailure(1, 17, 1, "", at=2.5, stderr_tail=text)) == Failed(
        rank=5,
        local_rank=1,
        pid=17,
        exit_code=1,
        at=2.5,
        error=find_exception(text),
        stderr=text,
    )


def test_a_recorded_exception_counts_more_than_stderr(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text(
        '{"message": {"message": "KeyError: \'a\'", "extraInfo": {"timestamp": "3", "py_callstack": '
        '"Traceback (most recent call last):\\n  File \\"/home/user/train.py\\", line 4, in f\\n    a[b]\\n'
        "KeyError: 'a'\\n\"}}}"
    )
    read = read_failure(0, ProcessFailure(0, 17, 1, str(path), at=2.5, stderr_tail=stderr("value_error")))
    assert read == Failed(
        rank=0,
        local_rank=0,
        pid=17,
        exit_code=1,
        at=2.5,
        error=PythonError(
            "KeyError",
            "'a'",
            Frame("/home/user/train.py", 4, "f", "a[b]"),
            (HEADER, '  File "/home/user/train.py", line 4, in f', "    a[b]", "KeyError: 'a'"),
        ),
        message="KeyError: 'a'",
        stderr=stderr("value_error"),
        error_file=str(path),
    )


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ('{"message": {"message": "OSError: gone"}}', PythonError("OSError", "gone"), "OSError: gone"),
        ('{"message": {"message": "gone"}}', None, "gone"),
        ('{"message": "it was: gone", "timestamp": 1}', None, "it was: gone"),
        ('{"message": {}}', None, ""),
        ('{"message": {"message": null}}', None, ""),
        ('{"message": {"message": "OSError: \\u001b[31mred\\u0000"}}', PythonError("OSError", "red"), "OSError: red"),
        ('{"message": "\\u001b[2Jbell \\u0007"}', None, "bell"),
    ],
)
def test_a_record_without_a_callstack_is_read_as_far_as_it_goes(
    tmp_path: Path, content: str, error: PythonError | None, message: str
) -> None:
    path = tmp_path / "error.json"
    path.write_text(content)
    read = read_failure(0, ProcessFailure(0, 17, 1, str(path), at=2.5))
    assert (read.error, read.message) == (error, message)


def test_with_an_unusable_error_file_stderr_is_read_and_the_problem_kept(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text('{"message": {"mess')
    text = stderr("value_error")
    read = read_failure(0, ProcessFailure(0, 17, 1, str(path), at=2.5, stderr_tail=text))
    assert (read.error, read.message, read.error_file) == (find_exception(text), "", str(path))
    assert read.problem.startswith(f"the error file {path} cannot be used: it is cut short or not JSON")


@pytest.mark.parametrize(("exit_code", "raised"), [(1, True), (120, True), (5, False), (255, False), (0, False)])
def test_an_exception_that_was_printed_is_the_cause_only_if_python_ended_as_it_does_then(
    exit_code: int, raised: bool
) -> None:
    printed = find_exception(stderr("logged"))
    read = read_failure(0, ProcessFailure(0, 17, exit_code, "", at=2.5, stderr_tail=stderr("logged")))
    assert (read.error, read.seen) == ((printed, None) if raised else (None, printed))


@pytest.mark.parametrize(("exit_code", "found"), [(1, True), (-6, True), (-11, True), (-9, False), (-15, False)])
def test_an_old_traceback_does_not_explain_a_kill_from_outside(exit_code: int, found: bool) -> None:
    read = read_failure(0, ProcessFailure(0, 17, exit_code, "", at=2.5, stderr_tail=stderr("logged")))
    assert (read.error is not None) is found
