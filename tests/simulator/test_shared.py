"""Small jobs over a register, plain or with entries, each with its own faults: nothing that must hold is broken."""

from __future__ import annotations

import os

import pytest
import shared_sim
from planted_shared import PLANTED

SEEDS = int(os.environ.get("LAUNCHER_SIM_SEEDS", "2000")) // 8
"""Each takes as long as eight of the other simulator's."""
BATCHES = 10
WITHIN = 1000
"""Seeds in which a planted bug has to be found. Most are within ten."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_seed_breaks_an_invariant(batch):
    for seed in range(batch, SEEDS, BATCHES):
        shared_sim.run(seed)


def test_a_seed_tells_the_same_story_every_time():
    for seed in range(6):
        assert shared_sim.run(seed).log == shared_sim.run(seed).log


def test_the_faults_befall_jobs_of_both_kinds():
    worlds = [shared_sim.run(seed) for seed in range(60)]
    history = "\n".join(line for world in worlds for line in world.log)

    assert {world.leased for world in worlds} == {True, False}
    for seen in (*shared_sim.FAULTS, "Cut(", "restart=True", "restart=False", "succeeded=False", "succeeded=True"):
        assert seen in history


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, name):
    PLANTED[name](monkeypatch)
    with pytest.raises(shared_sim.Failure, match="replay with: python tests/simulator/shared_sim"):
        for seed in range(WITHIN):
            shared_sim.run(seed)
