"""A worker in uninterruptible sleep cannot be killed, and holds nobody up: it is named, and left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from launches import Launcher, Running
from stuck_files import StuckFiles, stuck_files

SCRIPT = "[ $RANK = 1 ] && exec stat {stuck}/x; until [ -e {folder}/fail ]; do sleep 0.01; done; exit 3"


@pytest.fixture
def stuck(launcher: Launcher, tmp_path: Path) -> Iterator[StuckFiles]:
    """Files that nobody comes back from before the test is over."""
    files = stuck_files(tmp_path / "stuck")
    yield files
    files.close()


@pytest.fixture
def job(launcher: Launcher, stuck: StuckFiles, tmp_path: Path):
    """Starts a launch whose rank 1 is stuck; rank 0 fails when there is a file `fail`."""

    def start(*options: str) -> Running:
        script = SCRIPT.format(stuck=stuck.folder, folder=tmp_path)
        words = ["--shutdown-timeout=0.2", "--nproc-per-node=2", *options, "--no-python", "/bin/sh", "-c", script]
        running = launcher.start(*words)
        stuck.wait()
        return running

    return start


def named(text: str) -> bool:
    return "local rank 1 (pid " in text and ") is uninterruptible in request_wait_answer, system call " in text


def test_a_job_that_failed_ends_without_it_and_its_report_names_it(job, tmp_path: Path) -> None:
    running = job()
    (tmp_path / "fail").touch()
    result = running.wait(20)
    assert result.code == 1
    assert " FAILED: rank 0 on " in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("  stuck ")]
    assert named(line) and line.endswith("; it is left behind")
    (said,) = [line for line in result.err.splitlines() if line.startswith("launcher: after SIGKILL ")]
    assert named(said) and said.endswith("; leaving without them")


def test_a_signal_ends_the_launcher_without_it(job) -> None:
    running = job()
    running.signal(signal.SIGTERM)
    result = running.wait(20)
    assert result.code == 143
    assert named(result.err)


def test_a_job_that_was_to_go_on_cannot_and_may_on_another_machine(job, tmp_path: Path) -> None:
    running = job("--max-restarts=1")
    (tmp_path / "fail").touch()
    result = running.wait(40)
    assert result.code == 75
    last = result.err.splitlines()[-1]
    assert last.startswith("launcher: error: local ranks 1 did not end after SIGKILL: local rank 1 (pid ")
    assert named(last) and last.endswith("start the job again on another machine, and look at this one")
    assert "; waiting a little longer\n" in result.err
