"""Thousands of small jobs, each with its own faults: nothing that must hold is ever broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sim

SEEDS = int(os.environ.get("LAUNCHER_SIM_SEEDS", "2000"))
BATCHES = 20


@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_seed_breaks_an_invariant(batch):
    for seed in range(batch, SEEDS, BATCHES):
        sim.run(seed)


def test_a_seed_tells_the_same_story_every_time():
    for seed in range(30):
        assert sim.run(seed).world.log == sim.run(seed).world.log


def test_a_seed_tells_the_same_story_in_another_process():
    told = [_replayed(seed, hashing) for seed in (3, 11) for hashing in ("0", "1")]

    assert told[0] == told[1] and told[2] == told[3] and told[0] != told[2]


def test_the_faults_befall_the_jobs_and_jobs_end_in_every_way():
    stories = [sim.run(seed) for seed in range(300)]
    history = "\n".join(line for story in stories for line in story.world.log)

    for fault in sim.FAULTS:
        assert f"--- {fault}\n" in history
    for ending in ("all workers succeeded", "HostLostError", "RendezvousTimeoutError", "this node is a spare"):
        assert ending in history
    assert any(story.look.over and not story.look.over.succeeded for story in stories)


def _replayed(seed: int, hashing: str) -> str:
    command = [sys.executable, str(Path(sim.__file__)), str(seed)]
    env = {**os.environ, "PYTHONHASHSEED": hashing}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
