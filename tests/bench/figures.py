"""A figure: one quantity of several contenders, round by round; the arithmetic, and the table that people read."""

from __future__ import annotations

import math
import os
import resource
import statistics
from collections.abc import Sequence
from typing import Any

OURS = "launcher"
"""The contender that ratios are about."""


class Figure:
    """Samples of one quantity, by contender; equal positions belong to the same round."""

    def __init__(self, name: str, unit: str) -> None:
        self.name = name
        self.unit = unit
        self.samples: dict[str, list[float]] = {}

    def add(self, contender: str, value: float) -> None:
        """Add one sample."""
        self.samples.setdefault(contender, []).append(value)

    def median(self, contender: str) -> float:
        """The median of the samples, NaN when there are none."""
        return statistics.median(self.samples.get(contender) or [math.nan])

    def spread(self, contender: str) -> float:
        """The distance between the quartiles of the samples, as a share of their median."""
        samples = self.samples.get(contender) or [math.nan]
        if len(samples) < 2:
            return math.nan
        low, middle, high = statistics.quantiles(samples, n=4)
        return (high - low) / middle

    def ratio(self, contender: str, base: str) -> float:
        """The median, over the rounds, of the contender's sample divided by the base's."""
        pairs = zip(self.samples.get(contender, ()), self.samples.get(base, ()), strict=False)
        return statistics.median([one / other for one, other in pairs if other] or [math.nan])

    def as_dict(self) -> dict[str, Any]:
        """Everything about it, for JSON."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": {name: self.median(name) for name in self.samples},
            "ratio to ours": {name: self.ratio(name, OURS) for name in self.samples if name != OURS},
            "samples": self.samples,
        }


def show(figures: Sequence[Figure], load: Load) -> None:
    """Print a line for each figure: medians, and how many times ours each other is, up or down."""
    names = list(dict.fromkeys(name for figure in figures for name in figure.samples))
    others = [name for name in names if name != OURS]
    heads = [*names, *(f"{name} / ours" for name in others), "spread"]
    width = max(len(figure.name) + len(figure.unit) for figure in figures) + 3
    print(" " * width + "".join(f"{head:>{len(head) + 3}}" for head in heads))
    for figure in figures:
        medians = [_short(figure.median(name)) for name in names]
        ratios = [_short(figure.ratio(name, OURS)) for name in others]
        cells = [*medians, *ratios, f"{figure.spread(OURS):.0%}"]
        label = f"{figure.name} ({figure.unit})" if figure.unit else figure.name
        print(f"{label:{width}}" + "".join(f"{cell:>{len(head) + 3}}" for head, cell in zip(heads, cells, strict=True)))
    print(f"Meanwhile others used {load.of_others():.0%} of this machine.\n", flush=True)


def _short(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Load:
    """How much of the machine is used by others, from now on."""

    def __init__(self) -> None:
        self._began = (*busy(), self._own())

    def of_others(self) -> float:
        """Their share of all CPUs since then; processes of ours that are not reaped yet count as others'."""
        used, total = (now - then for now, then in zip(busy(), self._began, strict=False))
        return max(0.0, used - (self._own() - self._began[2])) / max(total, 1e-9)

    def _own(self) -> float:
        return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def busy() -> tuple[float, float]:
    """(seconds in use, seconds altogether) of all CPUs since the machine started."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    hertz = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - ticks[3] - ticks[4]) / hertz, sum(ticks) / hertz
