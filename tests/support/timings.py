"""How long it took to get over faults of each kind, shown at the end of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from statistics import quantiles
from typing import Any

import pytest

_taken: dict[str, list[float]] = {}
_counted: dict[str, Counter[str]] = {}


def note(what: str, seconds: float) -> None:
    """Note how many seconds it once took to do this."""
    _taken.setdefault(what, []).append(seconds)


def count(after: str, outcome: str) -> None:
    """Note what came of a fault that may end in more than one way."""
    _counted.setdefault(after, Counter())[outcome] += 1


def send(config: pytest.Config) -> None:
    """Where several processes share the tests: give what this one has noted to the one that prints."""
    output = getattr(config, "workeroutput", None)
    if output is not None:
        output["timings"] = (_taken, {after: dict(outcomes) for after, outcomes in _counted.items()})


def receive(output: Mapping[str, Any]) -> None:
    """Take in what one of them has noted; it has nothing to say when it died."""
    taken, counted = output.get("timings", ({}, {}))
    for what, times in taken.items():
        _taken.setdefault(what, []).extend(times)
    for after, outcomes in counted.items():
        _counted.setdefault(after, Counter()).update(outcomes)


def show(reporter: pytest.TerminalReporter) -> None:
    """Write a line for each kind."""
    for what, times in sorted(_taken.items()):
        cuts = quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
        reporter.write_line(f"seconds to {what}: p50 {cuts[9]:.2f}, p95 {cuts[18]:.2f} ({len(times)} rounds)")
    for after, outcomes in sorted(_counted.items()):
        told = ", ".join(f"{outcome} ({number} rounds)" for outcome, number in outcomes.most_common())
        reporter.write_line(f"{after}: {told}")
