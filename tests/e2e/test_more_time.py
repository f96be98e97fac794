"""Grace: each worker has all of it, at the same time as the others; and one that is still saving may ask for more."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from launches import Launcher, Running, until

from launcher_core.worker.grace import more_time

SAVES = """
import os, pathlib, select, signal, sys
from launcher_core.worker.grace import more_time
folder, rank = pathlib.Path({folder!r}), os.environ["RANK"]
def save(signum, frame):
    {save}
    (folder / ("saved" + rank)).touch()
    os._exit(0)
signal.signal(signal.SIGTERM, save)
(folder / ("here" + rank)).touch()
while True:
    select.select([], [], [], 100)
"""
WAIT = "select.select([], [], [], {})"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def saving(launcher: Launcher, folder: Path, save: str, workers: int, *options: str) -> Running:
    """A launch whose workers do that when they are asked to stop, and are now."""
    script = folder.parent / "saves.py"
    script.write_text(SAVES.format(folder=str(folder), save=save))
    running = launcher.start(f"--nproc-per-node={workers}", *options, script)
    until(lambda: len(list(folder.glob("here*"))) == workers, f"{workers} workers are here")
    running.signal(signal.SIGTERM)
    return running


def saved(folder: Path) -> list[int]:
    return sorted(int(path.name[len("saved") :]) for path in folder.glob("saved*"))


def test_eight_workers_that_need_most_of_the_grace_each_have_it_at_once(launcher: Launcher, folder: Path) -> None:
    running = saving(launcher, folder, WAIT.format(1.5), 8, "--shutdown-timeout=6")
    assert running.wait(30).code == 143
    assert saved(folder) == list(range(8))
    assert "the grace is over" not in running.err


def test_a_worker_that_asks_for_more_gets_it_and_the_others_do_not(launcher: Launcher, folder: Path) -> None:
    save = "rank == '1' and more_time(60); select.select([], [], [], 2.5 if rank == '1' else 1000)"
    running = saving(launcher, folder, save, 3, "--shutdown-timeout=1")
    assert running.wait(30).code == 143
    assert saved(folder) == [1]
    (line,) = [line for line in running.err.splitlines() if "the grace is over" in line]
    assert line.startswith("launcher: the grace is over; local rank 1 asked for 5")


def test_one_that_asks_again_and_again_gets_it_each_time(launcher: Launcher, folder: Path) -> None:
    save = "[(more_time(1), select.select([], [], [], 0.3)) for _ in range(8)]"
    running = saving(launcher, folder, save, 2, "--shutdown-timeout=0.5")
    assert running.wait(30).code == 143
    assert saved(folder) == [0, 1]


def test_nobody_gets_more_than_the_bound(launcher: Launcher, folder: Path) -> None:
    save = f"more_time(1000); {WAIT.format(1000)}"
    running = saving(launcher, folder, save, 2, "--shutdown-timeout=0.2", "--max-shutdown-timeout=0.6")
    result = running.wait(20)
    assert (result.code, saved(folder)) == (143, [])
    assert result.err.splitlines()[-1] == (
        "launcher: the grace is over (--shutdown-timeout); killing the workers that are left"
    )


def test_a_second_signal_kills_whatever_was_asked_for(launcher: Launcher, folder: Path) -> None:
    save = f"more_time(1000); (folder / 'asked').touch(); {WAIT.format(1000)}"
    running = saving(launcher, folder, save, 1, "--shutdown-timeout=0.1", "--max-shutdown-timeout=1000")
    until(lambda: "the grace is over; local rank 0 asked for" in running.err, "it has more time")
    running.signal(signal.SIGTERM)
    assert running.wait(20).code == 143


def test_it_is_shown_by_a_dry_run(launcher: Launcher) -> None:
    result = launcher.run("--dry-run", "--shutdown-timeout=7", "--no-python", "/bin/true")
    assert "to SIGKILL for a worker that asks for more time" in result.out
    assert "70 s" in result.out


def test_a_bound_below_the_grace_is_refused(launcher: Launcher) -> None:
    result = launcher.run("--max-shutdown-timeout=5", "--no-python", "/bin/true")
    assert (result.code, result.err) == (
        2,
        "launcher: error: --max-shutdown-timeout=5: less than --shutdown-timeout=30; write as much or more\n",
    )


def test_outside_of_a_launch_nobody_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAUNCHER_AGENT", raising=False)
    assert more_time(5) is False


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_what_is_no_time_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="more_time"):
        more_time(seconds)
