"""Launch: from the exec of the launcher to the first and the last worker's first line, and to its exit.

    python tests/bench/launch.py [--workers 1 4 16] [--rounds 7]

The workers are Python scripts that do nothing. CPU time is that of a whole launch of one /bin/true: what the
launcher uses, and whatever it starts.
"""

from __future__ import annotations

from collections.abc import Sequence

import harness
from figures import Figure, Load, show
from harness import Bench, Contender, Run, Worker

NO_OP = Worker((str(harness.BIN / "stamp.py"), "0"))
TRUE = Worker(("/bin/true",), is_python=False)


def measure(bench: Bench, workers: Sequence[int] = (1, 4, 16)) -> list[Figure]:
    """First line, last line and exit for each number of workers; CPU time."""
    figures = [figure for count in workers for figure in _latency(bench, count)]

    def once(contender: Contender) -> dict[str, float]:
        with Run(contender.command(1, (), TRUE), settle=bench.settle) as run:
            return {"CPU time of a launch": run.finish().cpu * 1e3}

    return figures + harness.rounds(bench, bench.launchers, once, {"CPU time of a launch": "ms"})


def _latency(bench: Bench, count: int) -> list[Figure]:
    words = "1 worker" if count == 1 else f"{count} workers"
    first, last, whole = (f"{words}, {what}" for what in ("first line", "last first line", "whole launch"))

    def once(contender: Contender) -> dict[str, float]:
        with Run(contender.command(count, (), NO_OP), settle=bench.settle) as run:
            ended = run.finish()
            times = sorted(stamp.at for stamp in run.stamps(count))
            ends = {first: times[0], last: times[-1], whole: ended.at}
            return {name: (at - run.began) / 1e6 for name, at in ends.items()}

    return harness.rounds(bench, (*bench.launchers, *bench.loops), once, dict.fromkeys((first, last, whole), "ms"))


def main() -> None:
    """Print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    options = parser.parse_args()
    bench = harness.bench_of(options)
    load = Load()
    show(measure(bench, options.workers), load)


if __name__ == "__main__":
    main()
