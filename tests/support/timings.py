"""How long it took to get over faults of each kind, shown at the end of a run."""

from __future__ import annotations

from collections import Counter
from statistics import quantiles

import pytest

_taken: dict[str, list[float]] = {}
_counted: dict[str, Counter[str]] = {}


def note(what: str, seconds: float) -> None:
    """Note how many seconds it once took to do this."""
    _taken.setdefault(what, []).append(seconds)


def taken() -> dict[str, list[float]]:
    """All times that were noted."""
    return _taken


def count(after: str, outcome: str) -> None:
    """Note what came of a fault that may end in more than one way."""
    _counted.setdefault(after, Counter())[outcome] += 1


def show(reporter: pytest.TerminalReporter) -> None:
    """Write a line for each kind."""
    for what, times in sorted(_taken.items()):
        cuts = quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
        reporter.write_line(f"seconds to {what}: p50 {cuts[9]:.2f}, p95 {cuts[18]:.2f} ({len(times)} rounds)")
    for after, outcomes in sorted(_counted.items()):
        told = ", ".join(f"{outcome} ({number} rounds)" for outcome, number in outcomes.most_common())
        reporter.write_line(f"{after}: {told}")
