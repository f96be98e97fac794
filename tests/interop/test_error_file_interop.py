"""Error files between torch elastic and us: each reads the other's, alone and through a nested launch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher_core.errors import ChildFailedError
from launcher_core.rules.blame import read_failure
from launcher_core.worker import error_file
from launcher_core.worker.failure import ProcessFailure
from launcher_core.worker.record import ErrorHandler, record

torch_errors = pytest.importorskip("torch.distributed.elastic.multiprocessing.errors")


class Quiet(ErrorHandler):
    """Ours, without touching the crash handler of the process that runs the tests."""

    def initialize(self) -> None:
        """Nothing."""


class TorchQuiet(torch_errors.ErrorHandler):  # type: ignore[name-defined,misc]
    """Torch's, likewise."""

    def initialize(self) -> None:
        """Nothing."""


def bad() -> None:
    raise ValueError("bad\nand worse")


Recorder = Callable[[Callable[[], None]], Callable[[], Any]]
RECORDERS: dict[str, Recorder] = {
    "ours": lambda fn: record(fn, Quiet()),
    "torch's": lambda fn: torch_errors.record(fn, TorchQuiet()),
}


def recorded_by(recorder: str, path: Path, monkeypatch: pytest.MonkeyPatch, fn: Callable[[], None] = bad) -> None:
    monkeypatch.setenv(error_file.VARIABLE, str(path))
    with pytest.raises((ValueError, ChildFailedError, torch_errors.ChildFailedError)):
        RECORDERS[recorder](fn)()


def shape(value: object) -> object:
    """The keys and types of a JSON value."""
    return {key: shape(item) for key, item in value.items()} if isinstance(value, dict) else type(value)


def test_both_write_the_same_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    recorded_by("ours", ours, monkeypatch)
    recorded_by("torch's", theirs, monkeypatch)
    assert shape(json.loads(ours.read_text())) == shape(json.loads(theirs.read_text()))
    messages = [json.loads(path.read_text())["message"]["message"] for path in (ours, theirs)]
    assert messages == ["ValueError: bad\nand worse"] * 2


@pytest.mark.parametrize("recorder", sorted(RECORDERS))
def test_both_read_either_file_alike(recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "error.json"
    recorded_by(recorder, path, monkeypatch)
    ours = ProcessFailure(1, 99, 1, str(path))
    theirs = torch_errors.ProcessFailure(1, 99, 1, str(path))
    assert {name: getattr(ours, name) for name in vars(theirs)} == vars(theirs)
    assert ours.timestamp_isoformat() == theirs.timestamp_isoformat()


@pytest.mark.parametrize("exitcode", [3, 0, -9, -40])
@pytest.mark.parametrize(
    "content", [None, {"message": "it broke", "timestamp": 17}, {"message": "x", "timestamp": "17"}]
)
def test_failures_have_torchs_fields(exitcode: int, content: object, tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    if content is not None:
        path.write_text(json.dumps(content))
    ours = ProcessFailure(1, 99, exitcode, str(path))
    theirs = torch_errors.ProcessFailure(1, 99, exitcode, str(path))
    same = [
        "local_rank",
        "pid",
        "exitcode",
        "error_file",
        *([] if content is None else ["message", "timestamp"]),
    ]
    assert [getattr(ours, name) for name in same] == [getattr(theirs, name) for name in same]
    assert ours.signal_name() == theirs.signal_name()
    assert ours.error_file_data["message"] == theirs.error_file_data["message"]


@pytest.mark.parametrize("recorder", sorted(RECORDERS))
def test_the_users_own_line_is_found_in_either_file(
    recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "error.json"
    recorded_by(recorder, path, monkeypatch)
    error = read_failure(0, ProcessFailure(0, 99, 1, str(path))).error
    assert error is not None
    assert error.frame is not None
    seen = (error.type, error.message, error.frame.file, error.frame.function, error.frame.source)
    assert seen == ("ValueError", "bad\nand worse", __file__, "bad", 'raise ValueError("bad\\nand worse")')


def test_our_record_copies_the_file_that_a_launch_of_torchs_ended_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner, outer = tmp_path / "inner.json", tmp_path / "outer.json"
    recorded_by("torch's", inner, monkeypatch)

    def launch() -> None:
        raise torch_errors.ChildFailedError("train.py", {0: torch_errors.ProcessFailure(0, 99, 7, str(inner))})

    recorded_by("ours", outer, monkeypatch, launch)
    expected = json.loads(inner.read_text())
    expected["message"]["errorCode"] = 7
    assert json.loads(outer.read_text()) == expected


def test_torchs_record_copies_the_file_that_our_worker_left_in_a_nested_launch(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from launcher_core.worker.record import record\n\n\n"
        "@record\n"
        "def main():\n"
        '    raise ValueError("bad")\n\n\n'
        "main()\n"
    )
    outer = tmp_path / "outer.json"
    command = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0", str(script)]
    env = {**os.environ, error_file.VARIABLE: str(outer)}
    done = subprocess.run(
        [sys.executable, *command],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    message = json.loads(outer.read_text())["message"]
    assert (message["message"], message["errorCode"]) == ("ValueError: bad", 1)
    frame = message["extraInfo"]["py_callstack"].splitlines()[1]
    assert frame == f'  File "{script}", line 6, in main'


def test_a_worker_without_an_error_file_to_write_says_nothing_but_its_traceback(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("from launcher_core.worker.record import record\n@record\ndef main():\n    1 / 0\nmain()\n")
    env = {name: value for name, value in os.environ.items() if name != error_file.VARIABLE}
    done = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    lines = done.stderr.splitlines()
    assert (done.returncode, lines[0], lines[-1]) == (
        1,
        "Traceback (most recent call last):",
        "ZeroDivisionError: division by zero",
    )
