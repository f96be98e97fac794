"""Idle: what a launcher costs while its workers work, all of its processes counted but not the workers.

    python tests/bench/idle.py [--workers 8] [--seconds 10] [--rounds 7]

CPU time is that of all threads, to the nanosecond, as a share of one CPU; the peak memory is the launcher's own
(resident, with what it shares), the present memory is its share of all that it and its helpers have in memory.
"""

from __future__ import annotations

import time
from pathlib import Path

import harness
from figures import Figure, Load, show
from harness import Bench, Contender, Run, Worker

SLEEPING = Worker((str(harness.BIN / "stamp.py"), "600"))
UNITS = {
    "idle, CPU": "% of one CPU",
    "idle, wake-ups": "a second",
    "peak memory": "MB",
    "memory while idle": "MB",
    "threads": "",
}


def measure(bench: Bench, workers: int = 8, seconds: float = 10.0) -> list[Figure]:
    """CPU, wake-ups, memory and threads beside so many sleeping workers."""

    def once(contender: Contender) -> dict[str, float]:
        with Run(contender.command(workers, (), SLEEPING), settle=bench.settle) as run:
            not_ours = {stamp.pid for stamp in run.stamps(workers)}
            time.sleep(1.0)  # what a start leaves to do is done
            mine = [pid for pid in (run.pid, *harness.descendants(run.pid)) if pid not in not_ours]
            before, begun = _usage(mine), time.monotonic()
            time.sleep(seconds)
            after, took = _usage(mine), time.monotonic() - begun
            return {
                "idle, CPU": (after[0] - before[0]) / 1e7 / took,
                "idle, wake-ups": (after[1] - before[1]) / took,
                "peak memory": _kilobytes(Path(f"/proc/{run.pid}/status"), "VmHWM:") / 1024,
                "memory while idle": sum(_kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in mine) / 1024,
                "threads": sum(len(_threads(pid)) for pid in mine),
            }

    return harness.rounds(bench, bench.launchers, once, UNITS)


def _threads(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _usage(pids: list[int]) -> tuple[int, int]:
    """(nanoseconds of CPU time, times that a thread was given the CPU) of all threads so far."""
    fields = [(thread / "schedstat").read_text().split() for pid in pids for thread in _threads(pid)]
    return sum(int(used) for used, _, _ in fields), sum(int(count) for _, _, count in fields)


def _kilobytes(file: Path, key: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(key))


def main() -> None:
    """Print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    bench = harness.bench_of(options)
    load = Load()
    show(measure(bench, options.workers, options.seconds), load)


if __name__ == "__main__":
    main()
