"""Nobody waits for a clock: ends are noticed as they happen, nodes meet when they are there, and idling is free."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, Running, until

Script = Callable[..., Path]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("how", [[], ["--run-path"]])
@pytest.mark.parametrize("end", ["sys.exit(3)", "sys.exit(0)"])
def test_the_end_of_a_worker_is_noticed_long_before_the_monitor_interval_is_over(
    launcher: Launcher, script: Script, how: list[str], end: str
) -> None:
    result = launcher.run(*how, "--monitor-interval=60", script(end), timeout=20)
    assert result.code == (1 if end == "sys.exit(3)" else 0)


def test_a_failed_worker_is_started_again_long_before_the_monitor_interval_is_over(
    launcher: Launcher, script: Script, here: Path
) -> None:
    worker = script("leave(str(attempt))\nsys.exit(attempt < 3)\n")
    assert launcher.run("--monitor-interval=60", "--max-restarts=3", worker, timeout=20).code == 0
    assert names(here) == {"0", "1", "2", "3"}


def test_two_nodes_meet_as_soon_as_both_are_there(launcher: Launcher, script: Script, free_port: int) -> None:
    worker = script("")
    place = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--rdzv-id=job"]
    alone, together = [], []
    for _ in range(3):
        began = time.monotonic()
        assert launcher.run(worker).code == 0
        alone.append(time.monotonic() - began)
        began = time.monotonic()
        nodes = [launcher.start(*place, worker) for _ in range(2)]
        assert [node.wait().code for node in nodes] == [0, 0]
        together.append(time.monotonic() - began)
    assert min(together) < 2 * min(alone) + 0.5


def test_a_job_that_runs_costs_the_launcher_nothing(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave('begin' + rank)\nselect.select([], [], [], 2.0)\nleave('end' + rank)\nuntil('go')\n")
    place = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--rdzv-id=job"]
    nodes = [launcher.start(*place, "--nproc-per-node=2", worker, env={"OMP_NUM_THREADS": "1"}) for _ in range(2)]
    until(lambda: len(names(here)) == 4, "the workers are there")
    before = [woken(node) for node in nodes]
    until(lambda: "end0" in names(here), "two seconds are over")
    after = [woken(node) for node in nodes]
    (here / "go").touch()
    assert [node.wait(20).code for node in nodes] == [0, 0]
    assert max(late - early for early, late in zip(before, after, strict=True)) < 20


def woken(running: Running) -> int:
    """How often the threads of a launcher have been woken up."""
    tasks = [path.read_text() for path in Path(f"/proc/{running.pid}/task").glob("*/status")]
    return sum(int(line.split()[1]) for text in tasks for line in text.splitlines() if line.startswith("voluntary"))


MONTHS = 90 * 86_400


@pytest.mark.parametrize("seconds", [MONTHS, 1e300], ids=["months", "ages"])
def test_a_time_may_be_longer_than_the_kernel_sleeps_at_once(
    launcher: Launcher, script: Script, seconds: float
) -> None:
    names = ("join_timeout", "keep_alive_interval", "keep_alive_max_attempt", "last_call_timeout", "close_timeout")
    conf = ",".join(f"{name}={seconds}" for name in names)
    times = [f"--{name}={seconds}" for name in ("shutdown-timeout", "exit-barrier-timeout", "monitor-interval")]
    worker = script("if rank == '1': sys.exit(3)\nstay()\n")
    result = launcher.run("--nproc=2", "--rdzv-backend=c10d", f"--rdzv-conf={conf}", *times, worker)
    assert result.code == 1
    assert "Traceback" not in result.err
    assert "rank 1 (local rank 1), pid " in result.err
