"""The event recorders that come with the launcher. Real files, nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from launcher_core.errors import UsageError
from launcher_core.model.record import Event, EventSource
from launcher_plugins.event_recorders import console, jsonl, null, otel, prometheus

ONE = Event("one", EventSource.AGENT, 1, {"run_id": "job", "rank": None})
TWO = Event("two", EventSource.WORKER, 2)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_null_keeps_nothing(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recorder = null.launcher_make_recorder(None)

    recorder.record(ONE)
    recorder.close()

    assert (list(here.iterdir()), capfd.readouterr()) == ([], ("", ""))


def test_console_prints_a_line_of_json_per_event(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = console.launcher_make_recorder(None)

    recorder.record(ONE)
    recorder.record(TWO)
    recorder.close()

    assert capsys.readouterr() == ("", f"{ONE}\n{TWO}\n")


def test_console_without_a_stderr_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    recorder = console.launcher_make_recorder(None)

    assert recorder.record(ONE) is None


@pytest.mark.parametrize("module", [null, console])
def test_an_argument_that_means_nothing_is_a_usage_error(module: object) -> None:
    with pytest.raises(UsageError, match="takes no argument"):
        module.launcher_make_recorder("x")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("argument", "log_dir", "path"),
    [
        ("run.jsonl", "logs", "run.jsonl"),
        ("deep/er/run.jsonl", None, "deep/er/run.jsonl"),
        (None, "logs", "logs/events.jsonl"),
        ("", "logs", "logs/events.jsonl"),
        (None, None, "events.jsonl"),
        (None, "", "events.jsonl"),
    ],
)
def test_jsonl_appends_a_line_per_event(here: Path, argument: str | None, log_dir: str | None, path: str) -> None:
    for event in (ONE, TWO):
        recorder = jsonl.launcher_make_recorder(argument, log_dir)
        recorder.record(event)
        recorder.close()

    lines = (here / path).read_text().splitlines()
    assert [Event.deserialize(line) for line in lines] == [ONE, TWO]


def test_jsonl_writes_to_the_file_it_opened_wherever_the_launcher_goes(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = jsonl.launcher_make_recorder("run.jsonl", None)
    monkeypatch.chdir("/")
    recorder.record(ONE)
    recorder.close()

    assert (here / "run.jsonl").read_text() == f"{ONE}\n"


def test_jsonl_beside_discarded_logs_is_discarded_too(here: Path) -> None:
    recorder = jsonl.launcher_make_recorder(None, os.devnull)

    recorder.record(ONE)
    recorder.close()

    assert list(here.iterdir()) == []


def test_a_jsonl_file_that_cannot_be_written_is_named(here: Path) -> None:
    (here / "file").write_text("")

    with pytest.raises(OSError, match=r"^event file '.*file/events\.jsonl' cannot be opened: "):
        jsonl.launcher_make_recorder(None, str(here / "file"))
    with pytest.raises(IsADirectoryError, match="cannot be opened"):
        jsonl.launcher_make_recorder(str(here), None)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk to offer")
def test_a_full_disk_is_told_with_the_path() -> None:
    recorder = jsonl.launcher_make_recorder("/dev/full", None)

    with pytest.raises(OSError, match="'/dev/full' cannot be written: No space left"):
        recorder.record(ONE)
    recorder.close()


@pytest.mark.parametrize(
    ("module", "argument", "needs", "extra"),
    [(prometheus, ":9400", "prometheus_client", "prometheus"), (otel, None, "opentelemetry", "otel")],
)
def test_a_recorder_without_its_extra_says_what_to_install(
    module: object, argument: str | None, needs: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, needs, None)
    for name in [name for name in sys.modules if name.startswith(f"{needs}.")]:
        monkeypatch.delitem(sys.modules, name)

    words = rf"needs {needs}\S*, which is not installed: pip install 'launcher-core\[{extra}\]'"
    with pytest.raises(UsageError, match=words):
        module.launcher_make_recorder(argument)  # type: ignore[attr-defined]


def test_otel_takes_an_address_only() -> None:
    with pytest.raises(UsageError, match="write the collector's address"):
        otel.launcher_make_recorder("collector:4318")
