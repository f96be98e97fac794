"""Chance, repeatable: every test has its own random numbers, made from a seed that is shown when the test fails."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hangs import RESULTS, table

SEED = os.environ.get("LAUNCHER_CHAOS_SEED") or str(random.SystemRandom().randrange(10**6))


def pytest_report_header() -> str:
    """The line by which a run can be repeated."""
    return f"chaos: LAUNCHER_CHAOS_SEED={SEED}"


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers of this test and round."""
    print(f"LAUNCHER_CHAOS_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which hangs were found, and their culprits named, if that was tried."""
    if RESULTS:
        terminalreporter.section("hangs")
        for line in table(RESULTS):
            terminalreporter.write_line(line)
