"""The report as data: one row for each way in which a launch ends, and the same words as the text."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from report_page import CLASSES, FIELDS, check

from launcher_core import errors
from launcher_core.rules import account as rules
from launcher_core.rules.account import Job, Spent, Streams, Where, account, kind, last_lines
from launcher_core.rules.blame import Failed, choose_root, find_exception
from launcher_core.rules.python_error import Frame, PythonError
from launcher_core.rules.steps import Looked
from launcher_core.rules.story import Case, told
from launcher_core.rules.testimony import statement

JOB = Job("j7", "train.py", ("python", "-u", "train.py"))
WHERE = Where("node-3", 1, 2, 8)
SPENT = Spent(1, 3, 100.0, 107.5, 7.5)
ERROR = PythonError("ValueError", "bad\nindeed", Frame("/a/train.py", 3, "work", "raise it"), ("Traceback", "bad"))
SEEN = Looked(0, ("rank 2: in all_reduce, train.py:41",), "/logs/stacks.txt")
CRASH = PythonError("Fatal Python error", "Segmentation fault", Frame("/a/train.py", 4, "work"))


def failed(rank: int, exit_code: int = 1, at: float = 5.0, stopped: bool = False, **more: Any) -> Failed:
    return Failed(rank, rank % 4, 100 + rank, exit_code, at, stopped, **more)


def case(*failures: Failed, **more: Any) -> Case:
    root = choose_root(failures)
    return Case("train.py", failures, root.position, root.reason, {}, "node-3", 1, 3, **more)


def of(verdict: Case, streams: dict[int, Streams] | None = None) -> dict[str, Any]:
    error = errors.ChildFailedError("train.py", {one.rank: None for one in verdict.failures})
    return account(JOB, WHERE, SPENT._replace(past=verdict.past), error, verdict, (), streams, SEEN)


def test_what_the_others_were_doing_is_there_where_it_was_seen() -> None:
    assert of(case(failed(0)))["stacks"] == {"lines": list(SEEN.lines), "file": SEEN.path}
    assert account(JOB, WHERE, SPENT, None)["stacks"] == {"lines": [], "file": None}


def _elsewhere() -> errors.JobFailedError:
    error = errors.JobFailedError("the job failed on another node: node-7 is gone")
    error.told = statement("node-7", kind="node_lost", text="node-7 is gone")
    return error


# --- classes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "name"),
    [
        (failed(0, 1, error=ERROR), "exception"),
        (failed(0, -6, error=ERROR), "exception"),
        (failed(0, -11, error=CRASH), "signal"),
        (failed(0, -9), "signal"),
        (failed(0, -34), "signal"),
        (failed(0, -9, out_of_memory=True), "out_of_memory"),
        (failed(0, 3), "exit_code"),
        (failed(0, 3, seen=ERROR), "exit_code"),
        (failed(0, 1, message="it said so"), "exit_code"),
        (failed(0, 1, stderr="python: No module named nothing\n"), "start_failed"),
        (failed(0, 2, stderr="python: can't open file 's.py': [Errno 2] No such file\n"), "start_failed"),
        (failed(0, 3, stderr="python: No module named nothing\n"), "exit_code"),
    ],
)
def test_a_workers_failure_has_a_class(failure: Failed, name: str) -> None:
    assert kind(failure) == of(case(failure))["cause"]["class"] == name


@pytest.mark.parametrize(
    ("error", "outcome", "code", "name"),
    [
        (errors.SignalException("got 15", signal.SIGTERM), "stopped", 143, "stopped"),
        (KeyboardInterrupt(), "stopped", 130, "stopped"),
        (_elsewhere(), "failed", 1, "node_lost"),
        (errors.JobFailedError("rank 3 exited with code 1 on node-1"), "failed", 1, "other_node"),
        (errors.HostLostError("gone"), "failed", 75, "host_lost"),
        (errors.RendezvousTimeoutError("nobody came"), "failed", 1, "rendezvous_failed"),
        (errors.StartError("no such program"), "failed", 1, "start_failed"),
        (errors.UsageError("no such function"), "failed", 2, "start_failed"),
        (errors.StuckError((1, 2)), "failed", 75, "stuck"),
        (errors.LauncherError("a value that cannot be read"), "failed", 1, "launcher"),
        (RuntimeError("a defect"), "failed", 1, "launcher"),
    ],
)
def test_what_ends_a_launch_without_a_workers_failure_has_one_too(
    error: BaseException, outcome: str, code: int, name: str
) -> None:
    found = account(JOB, WHERE, SPENT, error)
    check(found)
    assert (found["outcome"], found["exit_code"], found["cause"]["class"]) == (outcome, code, name)
    assert found["cause"]["text"] in str(error) or str(error) in found["cause"]["text"]
    assert found["cause"]["rank"] is None


@pytest.mark.parametrize("error", [None, errors.RendezvousGracefulExitError("not needed")])
def test_success_and_a_spare_that_was_not_needed_have_no_cause(error: BaseException | None) -> None:
    found = account(JOB, Where("node-3"), SPENT, error)
    check(found)
    assert (found["outcome"], found["exit_code"], found["cause"]) == ("succeeded", 0, None)


def test_a_hang_is_told_as_its_watch_said_it() -> None:
    found = of(case(failed(0, -15, stopped=True), failed(1, -9, stopped=True), hung="no progress for 60 s"))
    cause = found["cause"]
    assert (cause["class"], cause["text"], cause["stopped"]) == ("hang", "no progress for 60 s", True)
    assert found["consequences"]["stopped"] == [1]


def test_the_page_lists_every_class() -> None:
    assert tuple(CLASSES) == rules.CLASSES


# --- the same words --------------------------------------------------------------------------------------

WHOLE = case(
    failed(0, -15, 5.3, stopped=True),
    failed(1, 1, 5.0, error=ERROR, stderr="a\nb\x1b[0m\nc\n\n", error_file="/logs/1/error.json", problem="cut short"),
    failed(2, -9, 5.4, stopped=True),
    failed(3, 4, 5.25, message="lost it\nall"),
    report_lines=2,
)


def test_a_failure_is_told_whole() -> None:
    found = of(WHOLE, {1: Streams("/logs/1/stdout.log", "/logs/1/stderr.log"), 3: Streams("/x")})
    cause = found["cause"]
    assert (cause["rank"], cause["local_rank"], cause["pid"], cause["node"]) == (1, 1, 101, "node-3")
    assert cause["exception"] == {"type": "ValueError", "message": "bad\nindeed"}
    assert cause["frame"] == {"file": "/a/train.py", "line": 3, "function": "work", "source": "raise it"}
    assert (cause["stderr"], cause["traceback"], cause["note"]) == (["b", "c"], ["Traceback", "bad"], "cut short")
    assert found["logs"] == {
        "error_file": "/logs/1/error.json", "stdout": "/logs/1/stdout.log", "stderr": "/logs/1/stderr.log"
    }  # fmt: skip
    assert found["consequences"] == {
        "stopped": [0, 2],
        "killed": [2],
        "failed": [{"rank": 3, "local_rank": 3, "pid": 103, "exit_code": 4, "seconds_later": 0.25, "said": "lost it"}],
        "nodes": [],
    }
    assert found["restarts"] == {"spent": 1, "allowed": 3, "causes": []}
    assert (found["began"], found["ended"], found["seconds"]) == (100.0, 107.5, 7.5)


def test_every_row_of_the_page_is_in_some_report() -> None:
    past = [{"kind": "failure", "reason": "rank 1 exited with code 3", "count": 2}]
    nodes = case(failed(0, -11), nodes=(("node-3", "rank 0 SIGSEGV"),), past=past)
    assert check(of(WHOLE)) | check(of(nodes)) == set(FIELDS)


@pytest.mark.parametrize(
    "failures",
    [
        [failed(0, 1, error=ERROR), failed(1, 3, 5.1)],
        [failed(2, -11, error=CRASH)],
        [failed(2, -9, out_of_memory=True)],
        [failed(2, -9), failed(3, -15, stopped=True)],
        [failed(0, 1, message="1\n2\n3\n4\n5\n6\n7")],
        [failed(0, 127, stderr="sh: no such thing")],
        [failed(0, 1, stderr="python: No module named nothing\n")],
        [failed(0, -15, stopped=True), failed(1, -15, stopped=True)],
        [failed(0, 1, error=PythonError("ConnectionResetError", "peer")), failed(1, -9, 5.2)],
    ],
)
@pytest.mark.parametrize("hung", ["", "no progress"])
def test_every_sentence_is_one_of_the_text(failures: list[Failed], hung: str) -> None:
    verdict = case(*failures, hung=hung)
    text, cause = told(verdict), of(verdict)["cause"]
    assert text.startswith(cause["title"] + "\n")
    for line in cause["text"].splitlines():
        assert line in text
    assert f"rank {cause['rank']} (local rank {cause['local_rank']}), pid {cause['pid']}, " in text
    assert len(failures) == 1 or cause["reason"] in text


def test_no_line_of_stderr_is_wanted_or_there() -> None:
    assert last_lines("a\nb\n", 0) == []
    assert last_lines("", 5) == []
    assert last_lines("\n\n", 5) == []


def test_a_traceback_that_a_worker_printed_is_in_it() -> None:
    text = (Path(__file__).parent / "stderr" / "no_message.txt").read_text()
    cause = of(case(failed(5, error=find_exception(text), stderr=text)))["cause"]
    assert cause["exception"] == {"type": "AssertionError", "message": ""}
    assert cause["traceback"][-1] == "AssertionError"
