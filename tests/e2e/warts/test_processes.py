"""Processes: nothing is left behind, the grace holds, signals have the names that people use."""

from __future__ import annotations

import os
import pty
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, until

Script = Callable[..., Path]
BUSY = "import subprocess\nsubprocess.Popen(['sleep', '600'])\nleave(rank)\n"
MEGABYTES_AT_MOST = 30


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- what is left ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit(1)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_what_a_worker_left_running_is_gone_when_the_launch_ends(launcher: Launcher, script: Script, end: str) -> None:
    result = launcher.run("--nproc-per-node=2", script(BUSY + end))
    assert result.code == (0 if end == "sys.exit(0)" else 1)
    assert launcher.leftovers() == set()


def test_what_a_worker_left_running_is_gone_before_it_is_started_again(
    launcher: Launcher, script: Script, here: Path
) -> None:
    worker = script(
        "import subprocess\n"
        "if attempt == 0:\n    leave('pid', str(subprocess.Popen(['sleep', '600']).pid))\n    sys.exit(1)\n"
        "try:\n    stat = pathlib.Path('/proc', (here / 'pid').read_text(), 'stat').read_text()\n"
        "except OSError:\n    stat = ') gone'\n"
        "leave('state', stat.rpartition(')')[2].split()[0])\n"
    )
    assert launcher.run("--max-restarts=1", worker).code == 0
    assert (here / "state").read_text() in ("gone", "Z", "X")


# --- stopping --------------------------------------------------------------------------------------------

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nleave(f'{rank}.{attempt}')\n"


@pytest.mark.parametrize("function", [False, True], ids=["a command", "a function"])
def test_the_grace_is_as_long_as_asked_for_after_a_failure_too(
    launcher: Launcher, script: Script, function: bool
) -> None:
    worker = script(STUBBORN + "if rank == '0': stay()\nuntil('0.0')\nsys.exit(3)\n")
    options = ["--shutdown-timeout=0.2", "--nproc-per-node=2", *(["--run-path"] if function else [])]
    result = launcher.run(*options, worker, timeout=15)
    assert result.code == 1
    assert "launcher: the grace is over (--shutdown-timeout); killing the workers that are left\n" in result.err
    assert "  stopped by the launcher: rank 0 (rank 0 by SIGKILL)\n" in result.err


def test_the_grace_is_as_long_as_asked_for_before_a_restart_too(launcher: Launcher, script: Script) -> None:
    worker = script(STUBBORN + "if attempt == 1: sys.exit()\nif rank == '0': stay()\nuntil('0.0')\nsys.exit(3)\n")
    options = ["--shutdown-timeout=0.2", "--nproc-per-node=2", "--max-restarts=1"]
    assert launcher.run(*options, worker, timeout=15).code == 0


@pytest.mark.parametrize("names_of_signals", ["sigterm,sigusr2", "TERM,USR2", " SIGTERM , SIGUSR2 "])
def test_signals_may_be_named_as_people_name_them(
    launcher: Launcher, script: Script, here: Path, names_of_signals: str
) -> None:
    running = launcher.start(f"--signals-to-handle={names_of_signals}", script("leave(rank)\nstay()"))
    until(lambda: names(here) == {"0"}, "the worker is there")
    running.signal(signal.SIGUSR2)
    assert running.wait(10).code == 128 + signal.SIGUSR2


# --- a terminal --------------------------------------------------------------------------------------


def test_a_debugger_in_the_first_worker_can_be_talked_to(launcher: Launcher, script: Script, here: Path) -> None:
    worker = script("secret = 6 * 7\nif rank == '0': breakpoint()\nleave(rank, str(secret))\n")
    ours, theirs = pty.openpty()
    seen = bytearray()
    reader = threading.Thread(target=read_all, args=(ours, seen))
    reader.start()
    try:
        terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        running = launcher.start("--nproc-per-node=2", worker, **terminal)
        os.close(theirs)
        until(lambda: b"(Pdb) " in seen, "the debugger prompts")
        os.write(ours, b"!secret = 7\nc\n")
        assert running.wait(20).code == 0
    finally:
        reader.join(10)
        os.close(ours)
    assert {path.name: path.read_text() for path in here.iterdir()} == {"0": "7", "1": "42"}


def read_all(fd: int, into: bytearray) -> None:
    """Collect what appears on a terminal until nobody has it open any more."""
    while True:
        try:
            data = os.read(fd, 4096)
        except OSError:
            return
        into += data


# --- weight ----------------------------------------------------------------------------------------------


def test_the_launcher_is_small(launcher: Launcher, script: Script, here: Path) -> None:
    running = launcher.start("--nproc-per-node=4", "--tee=3", script("leave(rank)\nuntil('go')\n"))
    until(lambda: len(names(here)) == 4, "the workers are there")
    status = Path(f"/proc/{running.pid}/status").read_text()
    (kilobytes,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    maps = Path(f"/proc/{running.pid}/maps").read_text()
    (here / "go").touch()
    assert running.wait(20).code == 0
    assert kilobytes / 1024 <= MEGABYTES_AT_MOST
    assert "libtorch" not in maps
