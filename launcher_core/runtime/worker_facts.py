"""What /proc tells of one worker's process: its size, its CPU time, its state, the age of its last output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import monotonic, time
from typing import Any

STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "uninterruptible",
    "T": "stopped",
    "t": "traced",
    "Z": "ended",
    "X": "ended",
    "I": "idle",
}


def measured(worker: Mapping[str, Any]) -> dict[str, Any]:
    """`rss_bytes`, `cpu_seconds`, `process_state`, `last_output_seconds` of a worker; None where /proc does not tell.

    Of the worker's own process, not of what it started. A stream that is not the worker's alone tells nothing.
    """
    pid = worker["pid"]
    fields = _stat(pid) if pid and worker["exit_code"] is None else None
    if fields is None:
        ended = "ended" if worker["exit_code"] is not None else None
        return {"rss_bytes": None, "cpu_seconds": None, "process_state": ended, "last_output_seconds": _age(worker)}
    return {
        "rss_bytes": int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        "cpu_seconds": (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        "process_state": STATES.get(fields[0], fields[0]),
        "last_output_seconds": _age(worker),
    }


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (the state) on."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def _age(worker: Mapping[str, Any]) -> float | None:
    """Seconds since the worker's last output: of its files, by their own time, and of the stderr that we read."""
    ages = [time() - seconds for path in (worker["stdout"], worker["stderr"]) if (seconds := _written(path))]
    if worker["heard"] is not None:
        ages.append(monotonic() - worker["heard"])
    return round(max(0.0, min(ages)), 3) if ages else None


def _written(path: str) -> float | None:
    """When the file was written last; None for none, for an empty one, and for what is no file."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime if found.st_size and os.path.isfile(path) else None
