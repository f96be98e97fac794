"""What `record` does with each way in which a function can end, and what the handler writes."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher_core.errors import ChildFailedError
from launcher_core.worker.error_file import VARIABLE
from launcher_core.worker.failure import ProcessFailure
from launcher_core.worker.record import ErrorHandler, get_error_handler, record


class Witness(ErrorHandler):
    """Notes what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def set_entrypoint_fn_name(self, name: str | None) -> None:
        self.told.append(("name", name))

    def initialize(self) -> None:
        self.told.append(("initialize",))

    def record_exception(self, error: BaseException) -> None:
        self.told.append(("exception", error))

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        self.told.append(("dump", rootcause_error_file, error_code))

    def record_success(self) -> None:
        self.told.append(("success",))


class Old:
    """A handler as written for torch before 2.15: none of the newer hooks."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def initialize(self) -> None:
        self.told.append(("initialize",))

    def record_exception(self, error: BaseException) -> None:
        self.told.append(("exception", error))

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        self.told.append(("dump", rootcause_error_file, error_code))


def ends_with(error: BaseException) -> Callable[[], None]:
    def entry() -> None:
        raise error

    return entry


BEFORE = [("name", "entry"), ("initialize",)]


# --- outcomes ----------------------------------------------------------------------------------------------


def test_a_return_value_goes_through_and_success_is_told() -> None:
    def entry(left: int, right: int = 0) -> int:
        return left - right

    handler = Witness()
    assert record(entry, handler)(7, right=2) == 5
    assert handler.told == [*BEFORE, ("success",)]


@pytest.mark.parametrize("code", [0, False, 0.0])
def test_an_exit_with_zero_is_a_plain_return(code: object) -> None:
    handler = Witness()
    assert record(ends_with(SystemExit(code)), handler)() is None
    assert handler.told == BEFORE


@pytest.mark.parametrize("code", [None, 1, 3, "text", ""])
def test_any_other_exit_goes_on_unrecorded(code: object) -> None:
    handler = Witness()
    with pytest.raises(SystemExit) as raised:
        record(ends_with(SystemExit(code)), handler)()
    assert (raised.value.code, handler.told) == (code, BEFORE)


def test_an_exception_is_recorded_and_goes_on() -> None:
    error = ValueError("bad")
    handler = Witness()
    with pytest.raises(ValueError, match="bad"):
        record(ends_with(error), handler)()
    assert handler.told == [*BEFORE, ("exception", error)]


def test_a_keyboard_interrupt_is_not_touched() -> None:
    handler = Witness()
    with pytest.raises(KeyboardInterrupt):
        record(ends_with(KeyboardInterrupt()), handler)()
    assert handler.told == BEFORE


def test_of_a_failed_launch_the_first_failures_error_file_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text('{"message": "it broke", "timestamp": 5}')
    failures = {
        0: ProcessFailure(0, 10, -15, "", at=9.0),
        1: ProcessFailure(1, 11, 3, str(path), at=9.0),
    }
    handler = Witness()
    with pytest.raises(ChildFailedError):
        record(ends_with(ChildFailedError("train.py", failures)), handler)()
    assert handler.told == [*BEFORE, ("dump", str(path), 3)]


def test_the_root_that_the_launch_found_counts_more_than_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text('{"message": "it broke", "timestamp": 5}')
    failures = {
        0: ProcessFailure(0, 10, -9, "", at=9.0),
        1: ProcessFailure(1, 11, 3, str(path), at=9.0),
    }
    handler = Witness()
    with pytest.raises(ChildFailedError):
        record(ends_with(ChildFailedError("train.py", failures, root=0)), handler)()
    assert handler.told == BEFORE


def test_another_launchers_failure_is_known_by_its_method(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    path.write_text('{"message": "it broke", "timestamp": 5}')

    class ForeignError(Exception):
        def get_first_failure(self) -> tuple[int, ProcessFailure]:
            return 0, ProcessFailure(0, 10, 4, str(path))

    handler = Witness()
    with pytest.raises(ForeignError):
        record(ends_with(ForeignError()), handler)()
    assert handler.told == [*BEFORE, ("dump", str(path), 4)]


def test_what_record_success_raises_goes_on_unrecorded() -> None:
    class Strict(Witness):
        def record_success(self) -> None:
            raise RuntimeError("not good enough")

    handler = Strict()
    with pytest.raises(RuntimeError, match="not good enough"):
        record(lambda: None, handler)()
    assert handler.told == [("name", "<lambda>"), ("initialize",)]


@pytest.mark.parametrize("error", [None, ValueError("bad")])
def test_a_handler_without_the_newer_hooks_is_enough(error: Exception | None) -> None:
    handler = Old()
    entry = ends_with(error) if error else (lambda: None)
    if error:
        with pytest.raises(ValueError, match="bad"):
            record(entry, handler)()  # type: ignore[arg-type]
    else:
        record(entry, handler)()  # type: ignore[arg-type]
    assert handler.told == [("initialize",), *([("exception", error)] if error else [])]


def test_the_function_keeps_its_name_and_can_be_reached() -> None:
    def entry() -> None:
        """Train."""

    recorded = record(entry, Witness())
    assert (recorded.__name__, recorded.__doc__, recorded.__wrapped__) == (  # type: ignore[attr-defined]
        "entry",
        "Train.",
        entry,
    )


def test_the_default_handler_is_a_new_plain_one() -> None:
    assert type(get_error_handler()) is ErrorHandler
    assert get_error_handler() is not get_error_handler()


# --- what the handler writes -------------------------------------------------------------------------------


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "own.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def raised_by(entry: Callable[[], None]) -> None:
    class Quiet(ErrorHandler):
        def initialize(self) -> None:
            """Nothing: the process of the tests keeps its own crash handler."""

    with pytest.raises(ValueError, match="bad"):
        record(entry, Quiet())()


def test_the_recorded_stack_begins_with_the_users_function(own_file: Path) -> None:
    raised_by(ends_with(ValueError("bad")))
    message = json.loads(own_file.read_text())["message"]
    assert message["message"] == "ValueError: bad"
    callstack = message["extraInfo"]["py_callstack"].splitlines()
    assert callstack[1].endswith(", in entry")
    assert callstack[-1] == "ValueError: bad"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_path_nothing_is_written_and_nothing_said(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source.json"
    source.write_text('{"message": "it broke"}')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ErrorHandler().record_exception(ValueError("bad"))
        ErrorHandler().dump_error_file(str(source), 3)
    assert [entry.name for entry in tmp_path.iterdir()] == ["source.json"]


def test_a_file_that_cannot_be_written_is_a_warning_and_the_exception_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone" / "error.json"))
    with pytest.warns(RuntimeWarning, match="cannot write the error file .*No such file or directory"):
        raised_by(ends_with(ValueError("bad")))


def test_a_copied_error_file_carries_the_exit_code(tmp_path: Path, own_file: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text('{"message": {"message": "OSError: x", "extraInfo": {"timestamp": "5"}}}')
    own_file.write_text("something older")
    ErrorHandler().dump_error_file(str(source), 3)
    assert json.loads(own_file.read_text()) == {
        "message": {"message": "OSError: x", "extraInfo": {"timestamp": "5"}, "errorCode": 3}
    }


def test_a_flat_error_file_is_copied_as_it_is(tmp_path: Path, own_file: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text('{"message": "it broke", "timestamp": 5}')
    ErrorHandler().dump_error_file(str(source), 3)
    assert json.loads(own_file.read_text()) == {"message": "it broke", "timestamp": 5}


def test_an_unusable_error_file_is_copied_as_a_record_that_says_so(tmp_path: Path, own_file: Path) -> None:
    source = tmp_path / "source.json"
    source.write_text("")
    ErrorHandler().dump_error_file(str(source), 3)
    message = json.loads(own_file.read_text())["message"]
    assert (message["message"], message["errorCode"]) == (
        f"the error file {source} cannot be used: it is empty",
        3,
    )


def test_an_error_file_that_is_gone_leaves_nothing(tmp_path: Path, own_file: Path) -> None:
    ErrorHandler().dump_error_file(str(tmp_path / "gone.json"), 3)
    assert not own_file.exists()


def test_the_exit_code_is_added_in_place() -> None:
    data = {"message": {"message": "OSError: x"}}
    ErrorHandler().override_error_code_in_rootcause_data("source.json", data, 3)
    assert data == {"message": {"message": "OSError: x", "errorCode": 3}}


def test_a_crash_handler_that_cannot_be_enabled_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.warns(RuntimeWarning, match="stacks will not be printed on a crash: RuntimeError: "):
        ErrorHandler().initialize()


def test_a_signals_message_is_not_changed_by_the_plain_handler() -> None:
    assert ErrorHandler().maybe_enrich_signal_failure_message("killed", "error.json") == "killed"
