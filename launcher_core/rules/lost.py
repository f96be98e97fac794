"""What is to be told of a node whose loss ended the last round, when no other came in its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

from launcher_core.model.news import Cut, Regroup
from launcher_core.rules.ending import NOT_STARTED
from launcher_core.rules.story import signal_name
from launcher_core.rules.testimony import Testimony, statement

_GONE = re.compile(r"(.+?) is gone: (.+)", re.DOTALL)
"""What is said of a node that has left, or was lost (rules/round)."""
_SIGNAL = re.compile(r"\bsignal (\d+)$")


def lost(past: Sequence[Regroup | Cut]) -> Testimony | None:
    """A testimony about the node; None where the last round ended of something else."""
    last = past[-1] if past else None
    found = _GONE.fullmatch(last.reason) if isinstance(last, Regroup) and not last.restart else None
    if found is None:
        return None
    node, reason = found.groups()
    if reason.startswith(NOT_STARTED):
        return statement(node, kind="start_failed", text=f"{reason.removeprefix(NOT_STARTED)} (on {node})")
    why = _SIGNAL.sub(lambda number: f"{number[0]} ({signal_name(int(number[1]))})", reason)
    return statement(node, kind="node_lost", text=f"{node} is gone: {why}")
