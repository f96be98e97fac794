"""One look at the workers of a node: everything that /proc tells about their progress. Disturbs nobody."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from time import clock_gettime, monotonic
from typing import Any, NamedTuple

from launcher_core.rules.hang import Sample
from launcher_plugins.watches.calls import wait_of

WRAPPERS = 5
"""How many programs may stand between a worker and the one that does the work: shells, mostly."""
_TICK = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One process as /proc/PID/stat shows it."""

    pid: int
    parent: int
    session: int
    state: str
    of_children: float
    """CPU seconds of children that have ended."""


def processes() -> dict[int, Process]:
    """Every process that there is, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            text = shown(int(name), "stat")
            fields = text.rpartition(")")[2].split()
            if len(fields) > 14:
                ticks = (int(fields[13]) + int(fields[14])) / _TICK
                found[int(name)] = Process(int(name), int(fields[1]), int(fields[3]), fields[0], ticks)
    return found


def look(pids: Mapping[int, int], said: Mapping[int, tuple[Any, ...]]) -> dict[int, Sample]:
    """A sample of each of these workers, by the key that it has in `pids`. `said` changes with its output."""
    everybody = processes()
    children: dict[int, list[int]] = {}
    for one in everybody.values():
        children.setdefault(one.parent, []).append(one.pid)
    return {key: _sample(pid, said.get(key, ()), everybody, children) for key, pid in pids.items()}


def _sample(
    worker: int, said: tuple[Any, ...], everybody: Mapping[int, Process], children: Mapping[int, list[int]]
) -> Sample:
    now = monotonic()
    if worker not in everybody or everybody[worker].state in ("Z", "X"):
        return Sample(now, worker, "")
    family = {worker, *_below(worker, children)}
    family |= {one.pid for one in everybody.values() if one.session == worker}
    pid, wait, held = _at_work(worker, children)
    state, wanted, runs = _main_thread(pid)
    return Sample(
        at=monotonic(),
        pid=pid,
        state=state,
        wait=wait,
        cpu=sum(cpu_seconds(one) + everybody[one].of_children for one in family),
        wanted=wanted,
        runs=runs,
        io=sum(_bytes(one, "io") for one in family),
        own_io=_bytes(pid, f"task/{pid}/io"),
        said=said,
        processes=frozenset(family),
        held=held,
    )


def _below(pid: int, children: Mapping[int, list[int]]) -> set[int]:
    """The descendants of a process."""
    found: set[int] = set()
    todo = list(children.get(pid, ()))
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += children.get(one, ())
    return found


def _at_work(pid: int, children: Mapping[int, list[int]]) -> tuple[int, str, bool]:
    """The process that does a worker's work: itself, or the busiest of those that it waits for; and its wait."""
    wait, held = wait_of(pid, shown(pid, "syscall"))
    for _ in range(WRAPPERS):
        if wait != "child" or not children.get(pid):
            break
        pid = max(children[pid], key=lambda one: (cpu_seconds(one), -one))
        wait, held = wait_of(pid, shown(pid, "syscall"))
    return pid, wait, held


def _main_thread(pid: int) -> tuple[str, float, int]:
    """Its state, the seconds that it ran or waited for a CPU, and how often it was given one."""
    state = shown(pid, "stat").rpartition(")")[2].strip()[:1]
    words = shown(pid, "schedstat").split()
    if len(words) != 3:
        return state, 0.0, _switches(pid)
    ran, waited, runs = (int(word) for word in words)
    return state, (ran + waited) / 1e9, runs


def _switches(pid: int) -> int:
    """How often the main thread gave up the CPU, or lost it: for kernels without schedstat."""
    lines = [line for line in shown(pid, "status").splitlines() if "ctxt_switches" in line]
    return sum(int(line.split()[1]) for line in lines)


def cpu_seconds(pid: int) -> float:
    """The CPU time of all its threads, to the nanosecond: the clock that the kernel keeps of each process."""
    with suppress(OSError):
        return clock_gettime((~pid << 3) | 2)
    return 0.0


def _bytes(pid: int, what: str) -> int:
    """Bytes that were read and written, by whatever call."""
    found = dict(line.partition(": ")[::2] for line in shown(pid, what).splitlines())
    return int(found.get("rchar", 0)) + int(found.get("wchar", 0))


def shown(pid: int, what: str) -> str:
    """What /proc shows of a process; empty when it shows nothing."""
    try:
        fd = os.open(f"/proc/{pid}/{what}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 65536).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
