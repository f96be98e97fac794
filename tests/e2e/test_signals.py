"""Signals to the launcher: the workers get the same one, once; another one means now; and 128 + N is the exit code."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import InProcess
from launches import Launcher, Running, until

from launcher_core.errors import ChildFailedError, SignalException

BIN = Path(__file__).parent / "bin"
COUNT, STAY, END = BIN / "count_signals.py", BIN / "stay.py", BIN / "end_as_told.py"
USUAL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
METHODS = ["exec", "spawn", "fork", "forkserver"]


def by(method: str) -> list[str]:
    """The options for scripts that are started by this method."""
    return [] if method == "exec" else ["--run-path", f"--start-method={method}"]


@pytest.fixture
def got(tmp_path: Path) -> Path:
    """Where workers write down the signals they get."""
    folder = tmp_path / "got"
    folder.mkdir()
    return folder


def all_there(folder: Path, count: int = 2) -> None:
    until(lambda: len(list(folder.iterdir())) == count, f"{count} workers are there")


def heard(folder: Path) -> list[str]:
    """What each worker got, in the order of their ranks."""
    return [path.read_text() for path in sorted(folder.iterdir())]


# --- the signal goes to the workers ----------------------------------------------------------------------


@pytest.mark.parametrize("signum", USUAL)
def test_workers_get_the_signal_that_the_launcher_gets(launcher: Launcher, got: Path, signum: signal.Signals) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "exit")
    all_there(got)
    running.signal(signum)
    result = running.wait(10)
    assert (result.code, heard(got)) == (128 + signum, [f"{signum.name}\n"] * 2)
    assert " FAILED: " not in result.err


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_every_start_method_get_it_once(launcher: Launcher, got: Path, method: str) -> None:
    running = launcher.start(*by(method), "--nproc-per-node=2", "--shutdown-timeout=0.3", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGINT)
    assert (running.wait(10).code, heard(got)) == (130, ["SIGINT\n"] * 2)


@pytest.mark.parametrize(
    ("names", "signum"),
    [("USR1", signal.SIGUSR1), ("sigusr1,SIGTERM", signal.SIGUSR1), ("TERM,USR2", signal.SIGUSR2), ("ALRM", signal.SIGALRM)],
)
def test_signals_of_ones_own_choice_are_passed_on(
    launcher: Launcher, got: Path, names: str, signum: signal.Signals
) -> None:
    running = launcher.start(f"--signals-to-handle={names}", "--nproc-per-node=2", COUNT, got, "exit", signum.name)
    all_there(got)
    running.signal(signum)
    assert (running.wait(10).code, heard(got)) == (128 + signum, [f"{signum.name}\n"] * 2)


def test_a_signal_that_is_left_out_of_the_list_kills_the_launcher_and_the_workers_hear_nothing_of_it(
    launcher: Launcher, got: Path
) -> None:
    running = launcher.start("--signals-to-handle=SIGUSR1", "--nproc-per-node=2", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == -signal.SIGTERM
    launcher.assert_nothing_is_left()
    assert heard(got) == ["", ""]


def test_a_worker_that_has_ended_well_gets_nothing_and_the_code_is_the_signals(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--nproc-per-node=2", END, 0, "wait")
    until(lambda: alive(launcher, running, END) == 1, "one worker is left")
    running.signal(signal.SIGTERM)
    result = running.wait(10)
    assert result.code == 143
    assert " FAILED: " not in result.err


def alive(launcher: Launcher, running: Running, script: Path) -> int:
    """How many workers run this script, once it was started."""
    said = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in launcher.leftovers() if Path(f"/proc/{pid}").exists()]
    return sum(os.fsencode(script) in words for words in said)


# --- and another one means now ---------------------------------------------------------------------------


@pytest.mark.parametrize("second", USUAL)
def test_a_second_signal_of_any_kind_kills_at_once_and_the_first_is_the_code(
    launcher: Launcher, got: Path, second: signal.Signals
) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGTERM)
    until(lambda: heard(got) == ["SIGTERM\n"] * 2, "the workers got the first")
    running.signal(second)
    result = running.wait(3)
    assert (result.code, heard(got)) == (143, ["SIGTERM\n"] * 2)
    assert f"launcher: {second.name} again; killing the workers\n" in result.err


def test_a_signal_while_a_failed_group_is_stopped_kills_nobody_yet(launcher: Launcher, got: Path) -> None:
    script = got.parent / "first_fails.sh"
    script.write_text(
        f'#!/bin/sh\n[ "$RANK" = 1 ] && exec {sys.executable} {COUNT} {got} stay\n'
        f"while [ ! -e {got}/1 ]; do sleep 0.01; done\nexit 3\n"
    )
    script.chmod(0o755)
    running = launcher.start("--nproc-per-node=2", "--no-python", script)
    until(lambda: heard(got) == ["SIGTERM\n"], "the worker that did not fail is asked to stop")
    running.signal(signal.SIGINT)
    until(lambda: heard(got) == ["SIGTERM\nSIGINT\n"], "the worker gets the signal")
    running.signal(signal.SIGINT)
    result = running.wait(3)
    assert (result.code, heard(got)) == (130, ["SIGTERM\nSIGINT\n"])


# --- while there are no workers --------------------------------------------------------------------------


@pytest.mark.parametrize("signum", USUAL)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_before_all_nodes_are_there_ends_the_launch_at_once(
    launcher: Launcher, free_port: int, rank: int, signum: signal.Signals
) -> None:
    options = ["--nnodes=2", f"--node-rank={rank}", f"--master-port={free_port}"]
    running = launcher.start(*options, END, "wait", "wait")
    until(lambda: handles(running.pid, signum), "the launcher handles the signal")
    running.signal(signum)
    result = running.wait(3)
    assert (result.code, result.out, " FAILED: " in result.err) == (128 + signum, "", False)


def handles(pid: int, signum: int) -> bool:
    """Whether the process has a handler for the signal, in Python's way: an interrupt always has one at first."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return all(caught >> one - 1 & 1 for one in (signum, signal.SIGTERM))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_at_the_exit_barrier_ends_this_node_at_once(
    launcher: Launcher, got: Path, free_port: int, rank: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--shutdown-timeout=1"]
    late = launcher.start(*options, f"--node-rank={1 - rank}", COUNT, got, "exit")
    early = launcher.start(*options, f"--node-rank={rank}", END, 0, 0)
    all_there(got, 1)
    until(lambda: not alive(launcher, early, END), "the workers of this node have ended")
    until(lambda: handles(early.pid, signal.SIGTERM), "this node is under way")
    until(lambda: waits_for_others(early), "this node waits for the other")
    early.signal(signal.SIGTERM)
    result = early.wait(5)
    assert (result.code, " FAILED: " in result.err) == (143, False)
    late.signal(signal.SIGTERM)
    assert late.wait(10).code in (1, 143)
