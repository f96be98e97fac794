"""Hangs that are injected into real launches, and what the launcher makes of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from launches import Launcher, Running

BIN = Path(__file__).resolve().parents[1] / "chaos" / "bin"
KINDS = (
    "stopped", "deadlock", "thread_deadlock", "futex", "infinite_loop", "fifo", "fifo_without_writer", "wrong_peer",
    "sleep", "sleeps", "native_with_gil", "uninterruptible", "child",
)  # fmt: skip
RESULTS: dict[str, list[bool]] = {}
"""Of this run: kind -> whether each was found, and its culprit named."""
ALIKE_WITHOUT_STACKS = ("wrong_peer",)
"""Kinds whose culprit waits as its peers do, so that only the stacks tell them apart."""


class Injection(NamedTuple):
    """One hang: which, of whom, among how many; whether peers wait busily; whether workers show their stacks."""

    kind: str
    culprit: int
    workers: int
    spin: bool
    recorded: bool


class Found(NamedTuple):
    """What a launch said: the class of the failure and its rank."""

    kind: str
    rank: int | None
    title: str


def some_hang(kind: str, chance: Random) -> Injection:
    """A hang of this kind, all else left to chance."""
    workers = chance.choice([2, 3, 4])
    spin = chance.random() < 0.25
    recorded = kind in ALIKE_WITHOUT_STACKS or spin or chance.random() < 0.5
    return Injection(kind, chance.randrange(workers), workers, spin, recorded)


def begin(launcher: Launcher, folder: Path, hang: Injection, timeout: float = 2.0) -> Running:
    """A launch that is to hang, and to end of it."""
    folder.mkdir()
    words = ["env", f"--chdir={folder}"]
    wrapper, launcher.wrapper = launcher.wrapper, words
    try:
        return launcher.start(
            f"--nproc-per-node={hang.workers}", f"--hang-timeout={timeout}", "--hang-action=stop",
            "--shutdown-timeout=0", "--report=report.json", BIN / "hang.py",
            hang.kind, hang.culprit, "spin" if hang.spin else "block",
            env={"RECORDED": "1" if hang.recorded else "0"},
        )  # fmt: skip
    finally:
        launcher.wrapper = wrapper


def found(running: Running, folder: Path, within: float = 60.0) -> Found:
    """What it said in its report. Fails the test when the launch does not end in time."""
    running.wait(within)
    cause = json.loads((folder / "report.json").read_text())["cause"]
    return Found(cause["class"], cause["rank"], cause["title"])


def table(results: Mapping[str, Sequence[bool]]) -> list[str]:
    """Kind -> right of total, as lines."""
    rows = [f"{kind:20} {sum(right):4} of {len(right):4}" for kind, right in sorted(results.items()) if right]
    everything = [one for right in results.values() for one in right]
    share = 100 * sum(everything) / max(1, len(everything))
    return [*rows, f"{'all':20} {sum(everything):4} of {len(everything):4}  {share:.1f} %"]
