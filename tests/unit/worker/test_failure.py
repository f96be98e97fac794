"""A failed worker: torch elastic's fields, and the time and the texts that are ours."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher_core.worker import record
from launcher_core.worker.failure import ProcessFailure

TRAITS = {"category": "system_terminated_error", "retryability": "False"}


@pytest.fixture
def error_file(tmp_path: Path) -> Path:
    return tmp_path / "error.json"


@pytest.fixture
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def written(path: Path, data: object, at: float) -> str:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    os.utime(path, (at, at))
    return str(path)


def test_an_object_is_taken_over_with_its_timestamp_and_the_files_time(error_file: Path) -> None:
    message = {"message": "ValueError: bad", "extraInfo": {"py_callstack": "...", "timestamp": "17"}}
    path = written(error_file, {"message": message}, 17.25)
    assert vars(ProcessFailure(1, 99, 1, path, at=20.5, stderr_tail="bad\n")) == {
        "local_rank": 1,
        "pid": 99,
        "exitcode": 1,
        "error_file": path,
        "error_file_data": {"message": message},
        "message": message,
        "timestamp": 17,
        "at": 17.25,
        "stderr_tail": "bad\n",
        "stopped": False,
        "problem": "",
    }


def test_a_text_is_taken_over(error_file: Path) -> None:
    failure = ProcessFailure(1, 99, 1, written(error_file, {"message": "it broke", "timestamp": "17"}, 18.5))
    assert (failure.message, failure.timestamp, failure.at) == ("it broke", 17, 18.5)


def test_without_a_file_the_time_of_detection_counts() -> None:
    assert vars(ProcessFailure(1, 99, 3, "/no/such/file", at=20.5, stopped=True)) == {
        "local_rank": 1,
        "pid": 99,
        "exitcode": 3,
        "error_file": "<N/A>",
        "error_file_data": {"message": "<NONE>", "errorTraits": TRAITS},
        "message": "process 99 ended with exit code 3, without recording an exception",
        "timestamp": 20,
        "at": 20.5,
        "stderr_tail": "",
        "stopped": True,
        "problem": "",
    }


def test_without_a_time_it_failed_now() -> None:
    before = time.time()
    failure = ProcessFailure(0, 99, 3, "")
    assert before <= failure.at <= time.time()
    assert failure.timestamp == int(failure.at)


def test_a_file_from_after_the_workers_end_does_not_make_it_fail_later(error_file: Path) -> None:
    failure = ProcessFailure(0, 99, 1, written(error_file, {"message": "it broke"}, 1000.0), at=20.5)
    assert failure.at == 20.5


@pytest.mark.parametrize(
    ("exitcode", "name", "message"),
    [
        (-9, "SIGKILL", "process 99 was ended by signal 9 (SIGKILL), without recording an exception"),
        (-40, "<N/A>", "process 99 was ended by signal 40, without recording an exception"),
        (3, "<N/A>", "process 99 ended with exit code 3, without recording an exception"),
    ],
)
def test_the_end_is_put_in_words(exitcode: int, name: str, message: str) -> None:
    failure = ProcessFailure(0, 99, exitcode, "", at=20.5)
    assert (failure.signal_name(), failure.message) == (name, message)


def test_a_signal_leaves_the_data_without_traits_and_failures_share_nothing() -> None:
    first = ProcessFailure(0, 98, 3, "", at=20.5)
    assert first.error_file_data == {"message": "<NONE>", "errorTraits": TRAITS}
    assert ProcessFailure(0, 99, -9, "", at=20.5).error_file_data == {"message": "<NONE>"}


def test_an_empty_message_gives_way_to_the_exit_code(error_file: Path) -> None:
    path = written(error_file, {"message": "", "timestamp": 17}, 17.25)
    failure = ProcessFailure(0, 99, -6, path, at=20.5)
    assert failure.message == "process 99 was ended by signal 6 (SIGABRT), without recording an exception"
    assert failure.error_file_data == {"message": "", "timestamp": 17}


def test_an_unusable_file_is_a_sentence_and_never_an_exception(error_file: Path) -> None:
    path = written(error_file, '{"message": {"mess', 17.25)
    failure = ProcessFailure(0, 99, 1, path, at=20.5)
    assert (failure.error_file, failure.at, failure.timestamp) == (path, 17.25, 17)
    assert failure.error_file_data == {"message": "<NONE>", "errorTraits": TRAITS}
    assert failure.problem.startswith(f"the error file {path} cannot be used: it is cut short")
    assert failure.message == f"process 99 ended with exit code 1; {failure.problem}"


def test_an_installed_handler_may_explain_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Knowing(record.ErrorHandler):
        def maybe_enrich_signal_failure_message(self, message: str, error_file: str) -> str:
            return f"out of memory ({error_file})"

    monkeypatch.setattr(record, "get_error_handler", Knowing)
    assert ProcessFailure(0, 99, -9, "", at=1.0).message == "out of memory (<N/A>)"
    assert "out of memory" not in str(ProcessFailure(0, 99, 1, "", at=1.0).message)


def test_a_handler_that_raises_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(record.ErrorHandler):
        def maybe_enrich_signal_failure_message(self, message: str, error_file: str) -> str:
            raise OSError("no dmesg here")

    monkeypatch.setattr(record, "get_error_handler", Broken)
    with pytest.warns(RuntimeWarning, match="could not explain a signal: OSError: no dmesg here"):
        failure = ProcessFailure(0, 99, -9, "", at=1.0)
    assert failure.message == "process 99 was ended by signal 9 (SIGKILL), without recording an exception"


@pytest.mark.usefixtures("utc")
def test_the_time_is_shown_in_local_time() -> None:
    assert ProcessFailure(0, 99, 1, "", at=1795329509.75).timestamp_isoformat() == "2026-11-22_06:38:29"


@pytest.mark.usefixtures("utc")
def test_a_time_that_no_calendar_has_is_shown_as_the_files_time(error_file: Path) -> None:
    path = written(error_file, {"message": "it broke", "timestamp": 10**30}, 86400.0)
    assert ProcessFailure(0, 99, 1, path).timestamp_isoformat() == "1970-01-02_00:00:00"


def test_equal_failures_are_equal_also_after_pickling() -> None:
    failure = ProcessFailure(0, 99, 1, "", at=1.5)
    assert pickle.loads(pickle.dumps(failure)) == failure
    assert failure == ProcessFailure(0, 99, 1, "", at=1.5)
    assert failure != ProcessFailure(0, 99, 1, "", at=1.5, stopped=True)


def test_a_failure_shows_what_it_is() -> None:
    assert repr(ProcessFailure(0, 99, 1, "", at=1.5)) == (
        "ProcessFailure(local_rank=0, pid=99, exitcode=1, error_file='<N/A>', at=1.5, stopped=False, "
        "message='process 99 ended with exit code 1, without recording an exception')"
    )
