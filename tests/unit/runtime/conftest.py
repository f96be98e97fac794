"""A coordinator whose port and clock belong to the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from agents import Port

from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinator import Coordinator, Terms


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def host(port: Port) -> Callable[..., Coordinator]:
    def make(low=1, high=1, store=None, **terms):
        limits = {key: terms.pop(key) for key in ("last_call", "max_restarts", "fence", "fixed_ranks") if key in terms}
        return Coordinator(port, store, Terms("job", Limits(low, high, **limits), **terms), clock=lambda: port.now)

    return make
