"""Hangs of many kinds in real jobs: the launcher finds that it hangs, and names the worker that was made to hang."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest
from hangs import KINDS, RESULTS, begin, found, some_hang
from launches import Launcher

ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3"))
"""From ten on every kind is tried that often, twenty give more than two hundred; below, each is tried twice."""
AT_ONCE = 4
RIGHT = 0.95


@pytest.mark.timeout(300)
@pytest.mark.parametrize("round", range(ROUNDS if ROUNDS >= 10 else 2))
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
