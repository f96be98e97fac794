"""What ended the rounds before the last one, counted by cause: the same on every node that lived through them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher_core.model.news import Cut, Regroup

SHOWN = 4
_ONE_OF_A_KIND = re.compile(r" \(local rank \d+, pid \d+\)")
"""What differs between two failures of one rank."""
_TIMES = {1: "once", 2: "twice"}


def causes(past: Iterable[Regroup | Cut]) -> list[dict[str, Any]]:
    """Why rounds ended, most recent last: `kind` is failure (it cost a restart), members, or cut off."""
    counted: dict[tuple[str, str], int] = {}
    for one in past:
        kind = "cut off" if isinstance(one, Cut) else "failure" if one.restart else "members"
        key = (kind, _ONE_OF_A_KIND.sub("", one.reason))
        counted[key] = counted.pop(key, 0) + 1
    return [{"kind": kind, "reason": reason, "count": count} for (kind, reason), count in counted.items()]


def told(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The causes, a line each, the failures first; of very many the most recent."""
    failures = [one for one in found if one["kind"] == "failure"]
    others = [one for one in found if one["kind"] != "failure"]
    lines = [f"{_times(one['count'])}: {one['reason']}" for one in failures]
    lines += [f"{'regroup' if one['kind'] == 'members' else 'cut off'} {_times(one['count'])}: {one['reason']}"
              for one in others]  # fmt: skip
    left = len(lines) - SHOWN
    return lines if left <= 0 else [f"{left + 1} other causes", *lines[left + 1 :]]


def _times(count: int) -> str:
    return _TIMES.get(count, f"{count} times")
