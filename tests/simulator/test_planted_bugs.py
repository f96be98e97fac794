"""The simulator finds bugs: of each defect that is planted in the product, within a bounded number of seeds."""

from __future__ import annotations

import pytest
import sim
from planted import PLANTED

WITHIN = 4000
"""Seeds. Most are found within a hundred."""


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_found(monkeypatch, name):
    PLANTED[name](monkeypatch)
    failure = sim.first_failure(range(WITHIN))

    assert failure is not None
    assert "replay with: python tests/simulator/sim.py " in str(failure)
