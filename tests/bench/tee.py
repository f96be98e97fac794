"""Tee: lines a second from workers through the launcher to its stdout and to a file each; and how late they come.

    python tests/bench/tee.py [--workers 4] [--lines 500000] [--rounds 7]

With workers that are `cat`, which write faster than any launcher copies, and with Python workers, which do not.
Lines have 100 bytes. The time is from the first worker's first line to the last byte on the launcher's stdout, a
pipe that is emptied at once. Lateness: Python workers write the time every 10 ms, flushed.
"""

from __future__ import annotations

import os
import re
import select
import statistics
import time
import tty
from typing import NamedTuple

import harness
from figures import Figure, Load, show
from harness import Bench, Contender, Run, Worker

TEXT = b"x" * 99
OPTIONS = ("--tee=3", "--log-dir={}")
LATE_LINES = 200
READ = 1 << 20
EXPECTED_BYTES = 1 << 29


class Seen(NamedTuple):
    """What came out of a launcher."""

    data: memoryview
    reads: list[tuple[int, int]]
    """When each read ended, in nanoseconds, and where in `data`."""
    began: int
    """When the first worker began."""


def measure(bench: Bench, workers: int = 4, lines: int = 500_000) -> list[Figure]:
    """Throughput with both kinds of workers, intact lines, and lateness into a pipe and a terminal."""
    fast, intact, slow = f"tee, {workers} x cat", f"tee, {workers} x cat, lines intact", f"tee, {workers} x Python"
    late = {False: "tee, a line is late in a pipe", True: "tee, a line is late in a terminal"}
    latest = {terminal: f"{name}, at most" for terminal, name in late.items()}
    with harness.scratch() as directory:
        big = directory / "lines"
        big.write_bytes((TEXT + b"\n") * lines)
        cat = Worker((str(harness.BIN / "cat.sh"), str(big)), is_python=False)
        python = Worker((str(harness.BIN / "print.py"), str(lines // 5), TEXT.decode()))
        clock = Worker((str(harness.BIN / "print.py"), str(LATE_LINES), "clock"))

        def once(contender: Contender) -> dict[str, float]:
            rate, share = _rate(_seen(bench, contender, workers, cat), workers * lines)
            slow_rate, _ = _rate(_seen(bench, contender, workers, python), workers * (lines // 5))
            lateness = {}
            for terminal, name in late.items():
                seen = _seen(bench, contender, workers, clock, terminal=terminal)
                lateness[name], lateness[latest[terminal]] = _lateness(seen)
            return {fast: rate, intact: share, slow: slow_rate, **lateness}

        units = {
            fast: "lines/s",
            intact: "%",
            slow: "lines/s",
            **dict.fromkeys((*late.values(), *latest.values()), "ms"),
        }
        return harness.rounds(bench, bench.launchers, once, units)


def _seen(bench: Bench, contender: Contender, workers: int, worker: Worker, *, terminal: bool = False) -> Seen:
    """Everything that the launcher writes to its stdout until it ends."""
    buffer = bytearray(EXPECTED_BYTES)  # made before the launch, which it would hold up, and once
    ours, theirs = os.openpty() if terminal else os.pipe()
    if terminal:
        tty.setraw(theirs)
    with harness.scratch() as logs:
        options = [option.format(logs) for option in OPTIONS]
        with Run(contender.command(workers, options, worker), stdout=theirs, settle=bench.settle) as run:
            os.close(theirs)
            seen = _read_all(run, ours, buffer)
            run.finish()
    os.close(ours)
    return seen


def _read_all(run: Run, output: int, buffer: bytearray) -> Seen:
    view, size, reads, began = memoryview(buffer), 0, [], 0
    poll = select.poll()
    poll.register(run.stamps_fd, select.POLLIN)
    poll.register(output, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == run.stamps_fd:
                began = min([stamp.at for stamp in run.stamps_now()] + ([began] if began else []))
                continue
            try:
                count = os.readv(output, [view[size : size + READ]])
            except OSError:  # EIO: nobody has the terminal open any more
                count = 0
            if not count:
                return Seen(view[:size], reads, began)
            size += count
            reads.append((time.time_ns(), size))


def _rate(seen: Seen, lines: int) -> tuple[float, float]:
    """(lines a second, percentage of lines that are whole and have the prefix of one worker)."""
    data = bytes(seen.data)
    whole = sum(data.count(b"[default%d]:%b\n" % (rank, TEXT)) for rank in range(16))
    return lines / ((seen.reads[-1][0] - seen.began) / 1e9), 100 * whole / lines


def _lateness(seen: Seen) -> tuple[float, float]:
    """The time from a line's stamp to the read that brought it, in milliseconds: the median, and the longest."""
    late, before = [], 0
    for at, end in seen.reads:
        late += [(at - int(stamp)) / 1e6 for stamp in re.findall(rb"t(\d{19})", seen.data[before:end])]
        before = end
    return statistics.median(late), max(late)


def main() -> None:
    """Print the table."""
    parser = harness.parser(__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--lines", type=int, default=500_000, help="from each cat; Python workers print a fifth")
    options = parser.parse_args()
    bench = harness.bench_of(options)
    load = Load()
    show(measure(bench, options.workers, options.lines), load)


if __name__ == "__main__":
    main()
