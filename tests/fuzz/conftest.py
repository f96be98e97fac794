"""How much is sent, and from which seed: both shown, so that a failure can be repeated."""

from __future__ import annotations

import os
from random import SystemRandom

import pytest

FRAMES = int(os.environ.get("LAUNCHER_FUZZ_FRAMES", "50000"))
SEED = os.environ.get("LAUNCHER_FUZZ_SEED") or str(SystemRandom().randrange(10**6))


def pytest_report_header() -> str:
    """The line by which a run can be repeated."""
    return f"fuzz: LAUNCHER_FUZZ_SEED={SEED} LAUNCHER_FUZZ_FRAMES={FRAMES}"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of this test."""
    print(f"LAUNCHER_FUZZ_SEED={SEED}")
    return f"{SEED} {request.node.name}"


@pytest.fixture
def frames() -> int:
    """How many frames are to be sent in all."""
    return FRAMES
