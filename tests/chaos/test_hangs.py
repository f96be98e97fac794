"""Hangs of many kinds in real jobs: the launcher finds that it hangs, and names the worker that was made to hang."""

from __future__ import annotations

import os
import re
from pathlib import Path
from random import Random

import pytest
from hangs import BIN, KINDS, RESULTS, begin, found, some_hang
from launches import Launcher

ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3"))
"""From ten on every kind is tried that often, twenty give more than two hundred; below, each is tried once."""
HEALTHY_SECONDS = float(os.environ.get("LAUNCHER_HEALTHY_SECONDS", "20"))
"""How long a healthy job is watched; 1800 at night."""
AT_ONCE = 4
RIGHT = 0.95


@pytest.mark.timeout(300)
@pytest.mark.parametrize("round", range(ROUNDS if ROUNDS >= 10 else 1))
def test_whoever_was_made_to_hang_is_named(launcher: Launcher, tmp_path: Path, chance: Random, round: int) -> None:
    kinds = [*KINDS]
    chance.shuffle(kinds)
    wrong = []
    for first in range(0, len(kinds), AT_ONCE):
        hangs = [some_hang(kind, chance) for kind in kinds[first : first + AT_ONCE]]
        running = [begin(launcher, tmp_path / hang.kind, hang) for hang in hangs]
        for hang, one in zip(hangs, running, strict=True):
            said = found(one, tmp_path / hang.kind, 90)
            right = (said.kind, said.rank) == ("hang", hang.culprit)
            RESULTS.setdefault(hang.kind, []).append(right)
            if not right:
                wrong.append(f"{hang}: {said}\n{one.err}")
    print("\n".join(wrong))
    assert len(wrong) <= (1 - RIGHT) * len(kinds) + (ROUNDS >= 10)


@pytest.mark.timeout(HEALTHY_SECONDS + 120)
def test_a_healthy_job_of_uneven_phases_is_never_said_to_hang(
    launcher: Launcher, tmp_path: Path, chance: Random
) -> None:
    timeout = max(3.0, min(10.0, HEALTHY_SECONDS / 8))
    job = str(chance.random())
    options = ["--nproc-per-node=4", f"--hang-timeout={timeout}", f"--rdzv-id={job}"]
    running = launcher.start(*options, BIN / "bursty.py", HEALTHY_SECONDS, timeout * 0.5)
    result = running.wait(HEALTHY_SECONDS + 60)
    assert (result.code, re.findall("hang: .*", result.err)) == (0, [])
