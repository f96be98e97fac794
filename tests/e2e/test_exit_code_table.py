"""docs/exit_codes.md: each row is produced by a launch, and no row is left out."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from launches import Launcher, Running, until
from stuck_files import stuck_files

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "exit_codes.md").read_text()
ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)[1:]
BIN = Path(__file__).parent / "bin"
END, STAY = BIN / "end_as_told.py", BIN / "stay.py"


class Kit(NamedTuple):
    """What a row is made with."""

    launcher: Launcher
    folder: Path
    port: int

    def pair(self, *words: object, env: tuple[dict[str, str], dict[str, str]] = ({}, {})) -> list[Running]:
        """The two nodes of a static job."""
        options = ["--nnodes=2", f"--master-port={self.port}"]
        return [
            self.launcher.start(*options, f"--node-rank={rank}", *words, env={"OMP_NUM_THREADS": "1", **env[rank]})
            for rank in (0, 1)
        ]

    def here(self, *ranks: int) -> None:
        """Wait until these workers stay."""
        until(lambda: all((self.folder / str(rank)).exists() for rank in ranks), f"{ranks} are here")

    def elastic(self, *words: object) -> Running:
        options = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{self.port}", "--rdzv-id=job"]
        return self.launcher.start(*options, *words)


def success(kit: Kit) -> int:
    return kit.launcher.run("--nproc-per-node=2", END, "0", "0").code


def spare(kit: Kit) -> int:
    busy = kit.elastic("--nnodes=1:1", STAY, kit.folder, "exit")
    kit.here(0)
    second = kit.elastic("--nnodes=1:1", STAY, kit.folder, "exit")
    until(lambda: "this node is a spare" in second.err, "the second node is a spare")
    (worker,) = kit.launcher.leftovers() - {busy.pid, second.pid} - wardens(kit)
    os.kill(worker, signal.SIGTERM)
    assert busy.wait().code == 0
    return second.wait().code


def late_others(kit: Kit) -> int:
    options = ["--nnodes=2", f"--master-port={kit.port}", "--exit-barrier-timeout=0.5"]
    early = kit.launcher.start(*options, "--node-rank=1", END, "0", "0")
    late = kit.launcher.start(*options, "--node-rank=0", STAY, kit.folder, "exit")
    code = early.wait().code
    kit.here(0)
    late.signal(signal.SIGTERM)
    late.wait()
    return code


def failed(kit: Kit) -> int:
    return kit.launcher.run(END, "7").code


def failed_elsewhere(kit: Kit) -> int:
    first, second = kit.pair(END, "wait", "5")
    second.wait()
    return first.wait().code


def nobody_came(kit: Kit) -> int:
    options = ["--nnodes=2", f"--master-port={kit.port}", "--rdzv-conf=timeout=1", "--node-rank=0"]
    return kit.launcher.run(*options, END, "0").code


def not_started(kit: Kit) -> int:
    return kit.launcher.run("--health-port=192.0.2.1:80", END, "0").code


def nonsense(kit: Kit) -> int:
    assert kit.launcher.run("--rdzv-backend=no-such", END, "0").code == 2
    return kit.launcher.run("--nnodes=0", END, "0").code


def preempted(kit: Kit) -> int:
    first, second = kit.pair("--preempt-signal=USR1", STAY, kit.folder, "exit")
    kit.here(0, 1)
    second.signal(signal.SIGUSR1)
    assert second.wait().code == 75
    return first.wait().code


def host_lost(kit: Kit) -> int:
    first, second = kit.pair("--rdzv-conf=host_loss_timeout=3", STAY, kit.folder, "exit")
    kit.here(0, 1)
    first.signal(signal.SIGKILL)
    return second.wait().code


def node_lost(kit: Kit) -> int:
    first = kit.elastic("--nnodes=2", "--rdzv-conf=join_timeout=5", STAY, kit.folder, "exit")
    second = kit.elastic("--nnodes=2", "--rdzv-conf=join_timeout=5,is_host=no", STAY, kit.folder, "exit")
    kit.here(0, 1)
    second.signal(signal.SIGKILL)
    return first.wait().code


def unkillable(kit: Kit) -> int:
    files = stuck_files(kit.folder / "stuck")
    try:
        script = (
            f"[ $RANK = 1 ] && exec stat {files.folder}/x; until [ -e {kit.folder}/fail ]; do sleep 0.01; done; exit 3"
        )
        options = ["--max-restarts=1", "--shutdown-timeout=0.2", "--nproc-per-node=2"]
        running = kit.launcher.start(*options, "--no-python", "/bin/sh", "-c", script)
        files.wait()
        (kit.folder / "fail").touch()
        return running.wait().code
    finally:
        files.close()


def signalled(kit: Kit) -> int:
    running = kit.launcher.start(STAY, kit.folder, "exit")
    kit.here(0)
    running.signal(signal.SIGINT)
    return running.wait().code - signal.SIGINT


def killed(kit: Kit) -> int:
    running = kit.launcher.start(STAY, kit.folder, "exit")
    kit.here(0)
    running.signal(signal.SIGKILL)
    code = running.wait().code
    kit.launcher.assert_nothing_is_left()
    return code


def workers_own(kit: Kit) -> int:
    assert kit.launcher.run("--exit-code=worker", END, "-11").code == 128 + signal.SIGSEGV
    assert kit.launcher.run("--exit-code=worker", END, "75").code == 75
    return kit.launcher.run("--exit-code=worker", END, "7").code


def wardens(kit: Kit) -> set[int]:
    """Those of the launches' processes that are no workers."""
    return {pid for pid in kit.launcher.leftovers() if str(STAY) not in Path(f"/proc/{pid}/cmdline").read_text()}


LAUNCHES: dict[str, tuple[str, Callable[[Kit], int], int]] = {
    "all workers of the job succeeded": ("0", success, 0),
    "this node was a spare": ("0", spare, 0),
    "this node's workers succeeded": ("0", late_others, 0),
    "a worker failed": ("1", failed, 1),
    "the job failed on another node": ("1", failed_elsewhere, 1),
    "the nodes did not meet": ("1", nobody_came, 1),
    "a worker could not be started": ("1", not_started, 1),
    "the request makes no sense": ("2", nonsense, 2),
    "the job was preempted": ("75", preempted, 75),
    "the node that hosts": ("75", host_lost, 75),
    "a node was lost": ("75", node_lost, 75),
    "a worker could not be killed": ("75", unkillable, 75),
    "signal N stopped the launcher": ("128+N", signalled, 128),
    "a signal that the launcher does not handle": ("killed by N", killed, -signal.SIGKILL),
    "with `--exit-code=worker`": ("worker's", workers_own, 7),
}
"""What a row's text begins with -> its code, a launch that ends so, and what that gives."""


@pytest.mark.parametrize("text", LAUNCHES)
def test_a_row_is_what_a_launch_gives(text: str, launcher: Launcher, tmp_path: Path, free_port: int) -> None:
    code, make, gives = LAUNCHES[text]
    folder = tmp_path / "here"
    folder.mkdir()
    assert [row[0] for row in ROWS if row[1].startswith(text)] == [code]
    assert make(Kit(launcher, folder, free_port)) == gives


def test_every_row_is_made() -> None:
    assert [row[1] for row in ROWS if not any(row[1].startswith(text) for text in LAUNCHES)] == []
    assert len(ROWS) == len(LAUNCHES)
