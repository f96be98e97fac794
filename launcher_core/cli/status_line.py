"""The status line of a launch on a terminal: what a person would ask for while it runs."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from launcher_core.cli.say import duration
from launcher_core.runtime.bottom_line import BottomLine
from launcher_core.runtime.standing import Glance


def status_line(fd: int, glance: Callable[[], Glance], name: str) -> BottomLine:
    """The line on this terminal, as long as the context lasts."""
    began = monotonic()
    return BottomLine(fd, lambda: words(glance(), name, monotonic() - began, monotonic()))


def words(seen: Glance, name: str, seconds: float, now: float) -> str:
    """The line's text: state, round, nodes, workers, restarts, the age of what was last read of them, and the time."""
    if seen.state == "done":
        return ""
    span = f"{seen.low}" if seen.low == seen.high else f"{seen.low} to {seen.high}"
    nodes = f"{seen.nodes} of {span} nodes" if seen.nodes else f"{span} node{'s' * (seen.high > 1)} wanted"
    if seen.nodes == seen.high:
        nodes = f"{seen.nodes} node{'s' * (seen.nodes > 1)}"
    parts = [
        f" {name}: {seen.state}" + (f", round {seen.round}" if seen.round >= 0 else ""),
        nodes,
        f"{seen.world_size} worker{'s' * (seen.world_size > 1)}" if seen.world_size else "",
        f"restart {seen.restarts} of {seen.max_restarts}" if seen.restarts else "",
        "" if seen.heard is None else f"stderr {duration(max(0.0, now - seen.heard))} ago",
        f"up {duration(seconds)} ",
    ]
    return " | ".join(part for part in parts if part)
