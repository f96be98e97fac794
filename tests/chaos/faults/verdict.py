"""Holds what our launcher said against what is true. The rules are in docs/failures.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from fault import ANY, Fault
from stage import Said

USAGE = 2
"""The launcher's exit code for what it refused; it has started nothing, and writes no report."""


class Verdict(NamedTuple):
    """Of one node's report, or of several when all of them are right."""

    rank: bool
    kind: bool
    says: bool
    told_rank: int | None
    told_kind: str
    line: str
    """The first line of the report, for people."""
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        return self.rank and self.kind and self.says


def verdict(fault: Fault, said: list[Said], port: int) -> Verdict:
    """The worst of the nodes' verdicts: each has to say the same."""
    return min((_of_one(fault, one, port) for one in said), key=lambda one: (one.rank + one.kind, one.says))


def _of_one(fault: Fault, said: Said, port: int) -> Verdict:
    truth = fault.truth
    if said.report is None:
        kind = "start_failed" if said.code == USAGE else "nothing"
        cause: dict[str, Any] = {"class": kind, "rank": None, "node": fault.truth.node, "title": _last(said.err)}
    else:
        cause = said.report["cause"] or {"class": said.report["outcome"], "rank": None, "node": None, "title": ""}
    rank = cause["rank"]
    place = truth.rank is not None and fault.nodes > 1 and cause["node"] != truth.node
    right = (rank is not None if truth.rank == ANY else rank == truth.rank) and not place
    words = truth.says.format(port=port) if "{port}" in truth.says else truth.says
    shown = "\n".join(_texts(cause)) if said.report else said.err
    return Verdict(
        rank=right,
        kind=cause["class"] in truth.kinds,
        says=words.lower() in shown.lower(),
        told_rank=rank,
        told_kind=cause["class"],
        line=plain(cause["title"] or "", port),
    )


def plain(line: str, port: int) -> str:
    """A line without what is another in each run."""
    line = re.sub(r"pid \d+", "pid N", line.replace(str(port), "PORT"))
    return re.sub(r"/tmp/[^\s:'\"]*/", "", line)[:160]


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _texts(value: object) -> Iterator[str]:
    """Every text in a report."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
