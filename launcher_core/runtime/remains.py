"""What the kernel says of workers that did not end after SIGKILL. Imported when there are some."""

from __future__ import annotations

import os
from collections.abc import Mapping

from launcher_core.rules.steps import Remains
from launcher_core.runtime.stacks import kernel_view

EXITING = 0x4
"""PF_EXITING of Linux: the thread is being taken down, for instance its memory."""


def remains(pids: Mapping[int, int]) -> tuple[Remains, ...]:
    """What is left of these workers (local rank -> pid): the thread that explains it, and whether all are going."""
    return tuple(_remains(local, pid) for local, pid in sorted(pids.items()))


def _remains(local: int, pid: int) -> Remains:
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        threads = []
    found = {thread: _state(thread) for thread in threads}
    alive = {thread: state for thread, state in found.items() if state[0] not in ("Z", "X", "")}
    if not alive:
        return Remains(local, pid, "it has ended", True)
    stuck = min(alive, key=lambda thread: (alive[thread][0] != "D", thread != pid, thread))
    going = all(flags & EXITING for _, flags in alive.values())
    return Remains(local, pid, kernel_view(stuck), going)


def _state(thread: int) -> tuple[str, int]:
    """State and flags; ("", 0) when it is gone."""
    try:
        with open(f"/proc/{thread}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return fields[0], int(fields[6])
    except (OSError, IndexError, ValueError):
        return "", 0
