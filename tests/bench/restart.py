"""Restart: from the SIGKILL of one worker to the first line of the first and of the last worker of the next start.

    python tests/bench/restart.py [--workers 2] [--kills 3] [--rounds 7]

With Python workers, whose own start is most of the time, and with workers that are shells. "the worker alone" is
the time from the exec of one such worker to its first line, nothing else. Kills come at a random moment, because
torchrun looks at its workers ten times a second.
"""

from __future__ import annotations

import os
import random
import signal
import time
from functools import partial

import harness
from figures import Figure, Load, show
from harness import Bench, Contender, Run, Worker

KINDS = {
    "Python": Worker((str(harness.BIN / "stamp.py"), "600")),
    "shell": Worker((str(harness.BIN / "stamp.sh"), "600"), is_python=False),
}
ALONE = "the worker alone"


def measure(bench: Bench, workers: int = 2, kills: int = 3) -> list[Figure]:
    """First and last line of the restarted workers, for each kind of worker."""
    figures = []
    for kind, worker in KINDS.items():
        first = Figure(f"death to first line, {workers} {kind} workers", "ms")
        last = Figure(f"death to last first line, {workers} {kind} workers", "ms")
        for number in range(-1, bench.rounds):
            for contender in bench.launchers:
                for times in harness.undisturbed(bench, partial(_restarts, bench, contender, worker, workers, kills)):
                    if number >= 0:
                        first.add(contender.name, times[0])
                        last.add(contender.name, times[-1])
            for _ in range(kills if number >= 0 else 0):
                first.add(ALONE, harness.undisturbed(bench, partial(_alone, bench, worker)))
        figures += [first, last]
    return figures


def _restarts(bench: Bench, contender: Contender, worker: Worker, workers: int, kills: int) -> list[list[float]]:
    """For each kill, the milliseconds until each worker of the next start, the soonest first."""
    argv = contender.command(workers, (f"--max-restarts={kills}",), worker)
    found = []
    with Run(argv) as run:
        stamps = run.stamps(workers)
        for _ in range(kills):
            time.sleep(random.uniform(0.4, 0.8))
            harness.wait_for_quiet(bench.settle)
            time.sleep(random.uniform(0.0, 0.1))
            killed = time.time_ns()
            os.kill(stamps[0].pid, signal.SIGKILL)
            stamps = run.stamps(workers)
            found.append(sorted((stamp.at - killed) / 1e6 for stamp in stamps))
    return found


def _alone(bench: Bench, worker: Worker) -> float:
    with Run(["/usr/bin/env", "RANK=0", *worker.alone(bench.python)], settle=bench.settle) as run:
        return (run.stamps(1)[0].at - run.began) / 1e6


def main() -> None:
    """Print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3, help="in each round (3)")
    options = parser.parse_args()
    bench = harness.bench_of(options)
    load = Load()
    show(measure(bench, options.workers, options.kills), load)


if __name__ == "__main__":
    main()
