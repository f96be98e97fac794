"""A job on several nodes of this machine, each with a name and a clock of its own, and what each reports of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launches import Launcher, Result
from report_page import check

FAIL = Path(__file__).parents[1] / "e2e" / "bin" / "fail_together.py"
NAMED = ["unshare", "--uts", "sh", "-c", 'hostname "$NODE" && exec "$@"', "sh"]
SKEWED = """
import os, time
real, late = time.time, float(os.environ.get("CLOCK_IS_LATE_BY", "0"))
time.time = lambda: real() - late
"""
OWN = ("node", "stacks", "began", "ended", "seconds")
"""Fields of a report in which nodes may differ, beside what became of their own workers."""


class Verdicts:
    """Launches one agent on each of so many nodes."""

    def __init__(self, launcher: Launcher, tmp: Path, *meet: str) -> None:
        """`meet` is the rendezvous, in words of the command line."""
        self._launcher = launcher
        self._tmp = tmp
        self._meet = meet
        launcher.wrapper = NAMED
        folder = tmp / "clocks"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SKEWED)
        launcher.add_to_path(folder)

    def end(
        self, ends: Sequence[str], *words: str, nodes: int = 2, late: Sequence[float] = (), ranked: bool = False
    ) -> tuple[list[Result], list[dict[str, Any]]]:
        """How the launches ended, and their reports; `ends` by rank, `late` seconds by node.

        `ranked`: whether each is given its --node-rank.
        """
        folder = self._tmp / "met"
        folder.mkdir()
        files = [self._tmp / f"{number}.json" for number in range(nodes)]
        common = [f"--nnodes={nodes}", f"--nproc-per-node={len(ends) // nodes}", *self._meet, *words]
        running = []
        for number, file in enumerate(files):
            env = {"NODE": f"node-{number}", "CLOCK_IS_LATE_BY": str([*late, *[0.0] * nodes][number])}
            rank = [f"--node-rank={number}"] if ranked else []
            running.append(self._launcher.start(*common, *rank, f"--report={file}", FAIL, folder, *ends, env=env))
        results = [one.wait() for one in running]
        reports = [json.loads(file.read_text()) for file in files]
        for report in reports:
            check(report)
        return results, reports


def shared(report: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same on every node."""
    told = {name: value for name, value in report.items() if name not in OWN}
    return {**told, "consequences": sorted(map(str, told["consequences"]["nodes"]))}


def verdict(report: dict[str, Any]) -> tuple[str, int | None, str]:
    """Class, rank and node of the cause."""
    cause = report["cause"]
    return cause["class"], cause["rank"], cause["node"]
