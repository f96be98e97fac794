"""Reads what workers ask for by `launcher_core.worker.grace`. Imported when the grace is over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic

from launcher_core.worker.grace import FILE, layout


def wanted(pids: Mapping[int, int]) -> tuple[tuple[int, float], ...]:
    """For each of these workers (local rank -> pid) that asks for more time, how many seconds from now."""
    now = monotonic()
    until = {local: _until(pid) for local, pid in pids.items()}
    return tuple((local, moment - now) for local, moment in sorted(until.items()) if now < moment < float("inf"))


def _until(pid: int) -> float:
    """Until when a process asks not to be killed; 0 when it does not, or cannot be seen."""
    with suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            path = f"/proc/{pid}/fd/{name}"
            with suppress(OSError):
                if os.readlink(path).startswith(f"/memfd:{FILE} "):
                    return _read(path)
    return 0.0


def _read(path: str) -> float:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(fd, layout().size, 0)
    finally:
        os.close(fd)
    return float(layout().unpack(data)[0]) if len(data) == layout().size else 0.0
