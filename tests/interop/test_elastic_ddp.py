"""A torch job that trains through growth, the loss of a node and a failure: the loss goes on falling."""

from __future__ import annotations

import os
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from launches import Launcher, Running, until

pytestmark = [
    pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers: pip install torch"),
    pytest.mark.timeout(300),
]
SCRIPT = Path(__file__).parent / "bin" / "elastic_ddp.py"
STEPS = 30


class Line(NamedTuple):
    """One step of training."""

    world: int
    restarts: int
    step: int
    loss: float


def journal(folder: Path) -> list[Line]:
    text = (folder / "journal").read_text() if (folder / "journal").exists() else ""
    rows = [line.split() for line in text.splitlines() if line.count(" ") == 3]
    return [Line(int(world), int(restarts), int(step), float(loss)) for world, restarts, step, loss in rows]


def train_on(folder: Path, world: int, restarts: int = 0) -> None:
    """Wait until that many workers, after that many restarts, have trained for some steps."""
    seen = len(journal(folder))

    def enough() -> bool:
        lines = journal(folder)[seen:]
        return sum((line.world, line.restarts) == (world, restarts) for line in lines) >= STEPS

    until(enough, f"{world} workers train")


def start(launcher: Launcher, port: int, folder: Path) -> Running:
    place = ["--nnodes=1:3", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=job"]
    return launcher.start(
        *place, "--max-restarts=1", "--rdzv-conf=last_call_timeout=0.1", SCRIPT, folder, env={"OMP_NUM_THREADS": "1"}
    )


def worker_of(agent: Running) -> int:
    """The pid of the agent's worker."""
    names = Path(f"/proc/{agent.pid}/task").glob("*/children")
    children = [int(pid) for path in names for pid in path.read_text().split()]
    return next(pid for pid in children if SCRIPT.name in Path(f"/proc/{pid}/cmdline").read_text())


def test_training_goes_on_through_growth_the_loss_of_a_node_and_a_failure(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    agents = [start(launcher, free_port, tmp_path)]
    train_on(tmp_path, world=1)
    for world in (2, 3):
        agents.append(start(launcher, free_port, tmp_path))
        train_on(tmp_path, world)
    os.kill(agents[2].pid, signal.SIGKILL)
    train_on(tmp_path, world=2)
    os.kill(worker_of(agents[1]), signal.SIGKILL)
    train_on(tmp_path, world=2, restarts=1)
    (tmp_path / "stop").touch()

    assert [agent.wait().code for agent in agents] == [0, 0, -signal.SIGKILL]
    lines = journal(tmp_path)
    assert [line.step for line in lines] == sorted(line.step for line in lines)
    assert lines[-1].loss < 0.1 * lines[0].loss
