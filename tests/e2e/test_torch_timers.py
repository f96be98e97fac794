"""torch elastic's timers, served by the launcher to workers that speak their wire."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from launches import Launcher

SET = Path(__file__).parent / "bin" / "set_timer.py"
ON = {"TORCHELASTIC_ENABLE_FILE_TIMER": "1"}


@pytest.fixture(autouse=True)
def served(launcher: Launcher) -> None:
    launcher.env |= ON


@pytest.mark.parametrize("how", ["late", "nonsense"])
def test_a_worker_whose_timer_runs_out_ends_of_it_and_the_report_says_which(launcher: Launcher, how: str) -> None:
    result = launcher.run("--nproc-per-node=2", "--shutdown-timeout=1", SET, how)
    assert result.code == 1
    assert "FAILED: rank 1 on " in result.err
    assert "SIGKILL" in result.err
    assert "note     the timer 'train.py#41' of rank 1 (pid " in result.err
    assert ") ran out; the launcher sent it SIGKILL, as the timer asked for" in result.err
    assert result.err.count("makes no sense, and is left out: ") == (3 if how == "nonsense" else 0)


def test_the_signal_is_the_one_that_was_asked_for_and_the_job_may_start_again(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=2", "--shutdown-timeout=1", "--max-restarts=1", SET, "late", 10)
    assert result.code == 1
    assert result.err.count("ran out; sending it SIGUSR1") == 2
    assert "restart 1 of 1" in result.err


def test_a_timer_that_is_taken_back_in_time_does_nothing(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=2", SET, "in time")
    assert (result.code, "timer" in result.err) == (0, False)


def test_nobody_but_the_workers_can_be_sent_a_signal(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=1", SET, "stranger")
    assert (result.code, "ran out" in result.err) == (0, False)


def test_the_fifo_is_where_the_variable_says_and_gone_at_the_end(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "timers"
    os.mkfifo(path)  # one that a killed launch has left
    result = launcher.run("--nproc-per-node=2", SET, "late", env={"TORCHELASTIC_TIMER_FILE": str(path)})
    assert "ran out" in result.err
    assert not path.exists()


def test_what_is_no_fifo_is_not_replaced(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "timers"
    path.write_text("mine")
    result = launcher.run(SET, "late", env={"TORCHELASTIC_TIMER_FILE": str(path)})
    assert (result.code, path.read_text()) == (2, "mine")
    assert f"TORCHELASTIC_TIMER_FILE={path}: there is something else already" in result.err


def test_without_the_variable_nothing_is_served(launcher: Launcher) -> None:
    del launcher.env["TORCHELASTIC_ENABLE_FILE_TIMER"]
    program = "import os, sys; sys.exit(os.environ.get('TORCHELASTIC_TIMER_FILE', '') != '')"
    assert launcher.run("--no-python", launcher.python, "-c", program).code == 0
