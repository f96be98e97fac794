"""The countdown timers of torch elastic's workers: requests, one JSON object a line, and which of them have run out.

Source: torch elastic 2.13, FileTimerClient: `{"version": 1, "pid": 7, "scope_id": "train.py#41", "expiration_time":
1795.5, "signal": 9}`; a time below 0 takes the timer back. Times are wall-clock seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

LONGEST_LINE = 4096
"""Bytes of a request: more are not written to a pipe in one piece."""
_SIGNALS = 64


class Timer(NamedTuple):
    """A request: from this process, for this part of its program, until then; 0 is no signal."""

    pid: int
    scope: str
    until: float
    signum: int


Timers = Mapping[tuple[int, str], Timer]


def parse(line: bytes) -> Timer:
    """The request in a line. Raises ValueError for anything else."""
    found = json.loads(line)
    if not isinstance(found, dict) or found.get("version") != 1:
        raise ValueError("no request of version 1")
    pid, scope, until = found.get("pid"), found.get("scope_id"), found.get("expiration_time")
    signum = found.get("signal", 0)
    if type(pid) is not int or pid <= 1:
        raise ValueError("no pid")
    if not isinstance(scope, str) or not isinstance(until, int | float) or not until < float("inf"):
        raise ValueError("no scope_id, or no expiration_time")
    if type(signum) is not int or signum > _SIGNALS:
        raise ValueError("no signal")
    return Timer(pid, scope, float(until), max(0, signum))


def take(timers: Timers, request: Timer) -> Timers:
    """The timers after a request."""
    rest = {key: timer for key, timer in timers.items() if key != (request.pid, request.scope)}
    return rest if request.until < 0 else {**rest, (request.pid, request.scope): request}


def due(timers: Timers, now: float) -> tuple[tuple[Timer, ...], Timers]:
    """For each process of which one has run out the timer that counts, and the timers that are left.

    That with a signal that was the first to run out; then all others of the process are void. Without a signal it is
    only to be told.
    """
    over: dict[int, Timer] = {}
    for timer in sorted(timers.values(), key=lambda timer: (not timer.signum, timer.until)):
        if timer.until <= now:
            over.setdefault(timer.pid, timer)
    killed = {timer.pid for timer in over.values() if timer.signum}
    left = {key: timer for key, timer in timers.items() if timer.pid not in killed and timer.until > now}
    return tuple(over.values()), left


def seconds_left(timers: Timers, now: float) -> float | None:
    """Until the next one runs out; None for none."""
    return max(0.0, min(timer.until for timer in timers.values()) - now) if timers else None
