"""A recorder of another distribution can harm nothing but itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from launches import Launcher


def test_a_recorder_that_raises_is_dropped_at_the_third_event_with_one_notice_and_the_job_succeeds(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    handlers = f"outside-raising={bad},outside-lines={good}"

    done = launcher.run(f"--event-log-handler={handlers}", script("print('done')"))

    assert (done.code, done.out) == (0, "done\n")
    assert done.err == (
        "launcher: event recorder 'outside-raising' failed 3 times and gets no more events; the last time with "
        "RuntimeError: the collector is full\n"
    )
    assert bad.read_text().splitlines() == ["AGENT RENDEZVOUS", "AGENT ASSIGN_WORKER_RANKS", "WORKER START"]
    assert len(good.read_text().splitlines()) == 5


def test_a_recorder_that_cannot_be_closed_is_told_and_the_job_succeeds(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    done = launcher.run(f"--event-log-handler=outside-closing-badly={tmp_path / 'lines'}", script("print('done')"))

    assert (done.code, done.out) == (0, "done\n")
    assert done.err == (
        "launcher: event recorder 'outside-closing-badly' could not be closed, its last events may be lost: "
        "RuntimeError: the collector does not answer\n"
    )


def test_the_failure_of_a_worker_is_recorded_once_for_the_agent(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = tmp_path / "lines"

    done = launcher.run(f"--event-log-handler=outside-lines={lines}", script("sys.exit(3)"))

    assert done.code == 1
    ends = [line.split()[:2] for line in lines.read_text().splitlines() if "FAILED" in line]
    assert ends == [["WORKER", "FAILED"], ["AGENT", "FAILED"]]
