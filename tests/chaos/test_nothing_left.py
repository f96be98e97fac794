"""After a fatal decision nothing of the job is left on any node, whatever its workers started, however deaf they are.

Within the grace and two seconds, and LAUNCHER_CHAOS_SLACK more for a machine that has other things to do.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from launches import Launcher, Running, describe, until

BROOD = Path(__file__).parent / "bin" / "brood.py"
ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3"))
SLACK = float(os.environ.get("LAUNCHER_CHAOS_SLACK", "3"))
GRACE, WORKERS = 1.0, 4
EACH = 5
"""Processes of one worker: itself, and what it has started."""

pytestmark = [pytest.mark.timeout(120), pytest.mark.parametrize("round", range(ROUNDS))]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def brood(launcher: Launcher) -> set[int]:
    """The workers of this test's launches, and what they have started."""
    return {pid for pid in launcher.leftovers() if is_brood(pid)}


def is_brood(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(BROOD) in words or words[:2] == [b"sleep", b"600"]


def two_nodes(launcher: Launcher, there: Path, port: int) -> list[Running]:
    """Two agents, and all that their workers start."""
    options = ["--nnodes=2", "--nproc-per-node=2", f"--master-port={port}", f"--shutdown-timeout={GRACE}"]
    more = ["--preempt-signal=USR1", "--rdzv-conf=timeout=3"]
    nodes = [launcher.start(*options, *more, f"--node-rank={rank}", BROOD, there) for rank in (0, 1)]
    until(lambda: len(list(there.glob("[0-9]"))) == WORKERS, "all workers are there")
    assert len(brood(launcher)) == WORKERS * EACH
    return nodes


def gone(launcher: Launcher, began: float) -> None:
    """Fail unless all of them are gone in time."""
    left = GRACE + 2.0 + SLACK - (time.monotonic() - began)
    until(lambda: not brood(launcher), f"left: {describe(brood(launcher))}", left)
    print(f"gone after {time.monotonic() - began:.2f} s")


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("end", ["fails", "is killed"])
def test_when_a_worker_ends_the_job(
    launcher: Launcher, there: Path, free_port: int, end: str, rank: int, round: int
) -> None:
    nodes = two_nodes(launcher, there, free_port)
    began = time.monotonic()
    if end == "fails":
        (there / f"fail{rank}").touch()
    else:
        os.kill(int((there / str(rank)).read_text()), signal.SIGKILL)
    gone(launcher, began)
    assert [node.wait(10).code for node in nodes] == [1, 1]


@pytest.mark.parametrize("which", [0, 1])
def test_when_a_node_is_preempted(launcher: Launcher, there: Path, free_port: int, which: int, round: int) -> None:
    nodes = two_nodes(launcher, there, free_port)
    began = time.monotonic()
    nodes[which].signal(signal.SIGUSR1)
    gone(launcher, began)
    assert [node.wait(10).code for node in nodes] == [75, 75]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_when_an_agent_is_ended(
    launcher: Launcher, there: Path, free_port: int, signum: signal.Signals, which: int, round: int
) -> None:
    nodes = two_nodes(launcher, there, free_port)
    began = time.monotonic()
    nodes[which].signal(signum)
    gone(launcher, began)
    assert nodes[which].wait(10).code == (128 + signum if signum == signal.SIGTERM else -signum)
    assert nodes[1 - which].wait(30).code in (1, 75)
