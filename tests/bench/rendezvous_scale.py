"""Rendezvous at scale: so many agents meet at one coordinator over TCP, all on this machine.

    python tests/bench/rendezvous_scale.py [--nodes 16 64 128 256 1000 4096] [--rounds 5] [--idle 5] [--json FILE]

The server is one process, the agents share two more, each with one loop for all of its agents (see fleet.py). All
agents connect and join at once; then, once a round, one reports a failure, all are dismissed and join again; then
all are left alone for a while. Needs descriptors for all agents in the server (`ulimit -n`).
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import fleet
import rendezvous_torch
from figures import OURS, Figure, Load
from fleet import Report, Usage

NODES = (16, 64, 128, 256, 1000, 4096)
TORCH_AT_MOST = 128
"""With 256 torch's own does not come to an end in minutes."""
COLUMNS = 10
"""Of the plot, for half a power of ten."""
PROCESSES = 2
PATIENCE = 120.0
SILENCE = 1.5
"""Seconds without a word until an agent is given up, as by default."""


class Round(NamedTuple):
    """How all agents came to their seats. Times in seconds."""

    whole: float
    """From the first connection, or from the failure, to the last seat."""
    after_last_join: float
    """From the last agent's join to the last seat."""
    messages: int
    """Of the agent that had the most, both directions."""
    bytes: int
    dense: bool
    """Whether each rank was given once, in one and the same round."""
    server_cpu: float
    agents_cpu: float
    """Of all agents together."""


class Scale(NamedTuple):
    """Everything about one number of agents."""

    nodes: int
    first: Round
    restarts: list[Round]
    peak_memory: float
    """Of the server, MB."""
    memory_before: float
    idle_bytes: float
    """A second and agent, both directions."""
    idle_cpu: float
    """Of the server, percent of one CPU."""


class Child:
    """A process of the measurement, and the pipe to it."""

    def __init__(self, run: Any, *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=run, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, order: str) -> Any:
        """The answer to an order."""
        self.send(order)
        return self.answer()

    def send(self, order: str | None) -> None:
        """Give an order."""
        self._pipe.send(order)

    def answer(self) -> Any:
        """The next answer. Raises SystemExit when none comes in time, or the process has ended."""
        return _received(self._pipe)

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _received(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE):
        raise SystemExit(f"nothing within {PATIENCE:g} s")
    try:
        return pipe.recv()
    except EOFError as error:
        raise SystemExit("a process of the measurement ended; see above") from error


class Job:
    """A server and its agents, all waiting for orders."""

    def __init__(self, nodes: int, silence: float) -> None:
        self.nodes = nodes
        self._server = Child(fleet.serve, nodes, silence)
        self._fleets: list[Child] = []
        self._agents_cpu = 0.0
        port = self._server.answer()
        first = 0
        for index in range(PROCESSES):
            count = nodes // PROCESSES + (index < nodes % PROCESSES)
            self._fleets.append(Child(fleet.take_part, port, first, count, nodes))
            first += count

    def usage(self) -> Usage:
        """What the server has used so far."""
        found: Usage = self._server.ask("usage")
        return found

    def round(self, order: str, fleets: int) -> Round:
        """Give the order to so many processes, and wait until all agents have a seat."""
        before = self.usage()
        for child in self._fleets[:fleets]:
            child.send(order)
        reports = [child.answer() for child in self._fleets]
        used, self._agents_cpu = self._agents_cpu, sum(report.cpu for report in reports)
        return _summary(reports, self.nodes, self.usage().cpu - before.cpu, self._agents_cpu - used)

    def idle(self, seconds: float) -> tuple[float, float]:
        """(Bytes a second and agent, the server's percent of one CPU) while nothing happens."""
        for child in self._fleets:
            child.ask("signs")
        before, began = self.usage(), time.monotonic()
        time.sleep(seconds)
        cpu, took = self.usage().cpu - before.cpu, time.monotonic() - began
        signs = sum(child.ask("signs").signs for child in self._fleets)
        return signs / took / self.nodes, cpu / took * 100

    def stop(self) -> None:
        """End all processes."""
        for child in (*self._fleets, self._server):
            child.stop()


def _summary(reports: Sequence[Report], nodes: int, server_cpu: float, agents_cpu: float) -> Round:
    last_seat = max(report.last_seat for report in reports)
    ranks = sorted(rank for report in reports for rank in report.ranks)
    return Round(
        last_seat - min(report.began for report in reports),
        last_seat - max(report.last_join for report in reports),
        max(max(report.messages) for report in reports),
        max(max(report.bytes) for report in reports),
        ranks == list(range(nodes)) and len({report.round for report in reports}) == 1,
        server_cpu,
        agents_cpu,
    )


def measure(nodes: int, rounds: int, idle: float, silence: float = SILENCE) -> Scale:
    """So many agents: the first round, `rounds` restarts, and so many seconds of nothing."""
    job = Job(nodes, silence)
    try:
        before = job.usage()
        first = job.round("join", PROCESSES)
        restarts = [job.round("fail", 1) for _ in range(rounds)]
        idle_bytes, idle_cpu = job.idle(idle) if idle else (0.0, 0.0)
        return Scale(nodes, first, restarts, job.usage().peak, before.now, idle_bytes, idle_cpu)
    finally:
        job.stop()


def figures(rounds: int, *, torch: bool, nodes: Sequence[int] = NODES) -> list[Figure]:
    """The first round and a restart, for each number of agents; torch's own once, where it comes to an end."""
    found = []
    for count in nodes:
        scale = measure(count, rounds, 0.0)
        first, restart = Figure(f"{count} agents, first round", "ms"), Figure(f"{count} agents, restart", "ms")
        theirs = rendezvous_torch.measure(count) if torch and count <= TORCH_AT_MOST else None
        if theirs is not None:
            first.add("torchrun", theirs.first * 1e3)
            restart.add("torchrun", theirs.restart * 1e3)
        first.add(OURS, scale.first.whole * 1e3)
        for one in scale.restarts:
            restart.add(OURS, one.whole * 1e3)
        found += [first, restart]
    return found


def row(scale: Scale) -> str:
    """A line of the table, as docs/performance.md has it."""
    whole = [one.whole for one in scale.restarts]
    cells = (
        f"{scale.nodes:,}",
        f"{scale.first.whole:.3f}",
        f"{scale.first.after_last_join:.3f}",
        f"{statistics.median(whole):.3f}" if whole else "-",
        f"{min(whole):.3f}" if whole else "-",
        f"{scale.first.messages} / {max([one.messages for one in scale.restarts], default=0)}",
        f"{scale.first.bytes} / {max([one.bytes for one in scale.restarts], default=0)}",
        f"{min([one.server_cpu for one in scale.restarts] or [0.0]):.3f}",
        f"{min([one.agents_cpu for one in scale.restarts] or [0.0]):.3f}",
        f"{scale.peak_memory:.0f}",
        f"{scale.idle_bytes:.0f}",
        f"{scale.idle_cpu:.1f}",
    )
    return "| " + " | ".join(cells) + " |"


def plot(points: Mapping[int, tuple[float, float]]) -> str:
    """By number of agents, the (first round after the last join, best restart) on a scale of seconds, as text."""
    lines = ["agents   seconds: o first round after the last join, # best restart (X both)"]
    ticks = [10 ** (half / 2) for half in range(-5, 2)]
    lines.append(" " * 9 + "".join(f"{tick:<{COLUMNS}.1g}" for tick in ticks).rstrip())
    for nodes, (first, restart) in points.items():
        cells = list((":" + " " * (COLUMNS - 1)) * (len(ticks) - 1) + ":")
        for seconds, mark in ((first, "o"), (restart, "#")):
            at = round((math.log10(max(seconds, ticks[0])) + 2.5) * 2 * COLUMNS)
            at = min(at, len(cells) - 1)
            cells[at] = "X" if cells[at] == "o" else mark
        lines.append(f"{nodes:>6,}   " + "".join(cells))
    return "\n".join(lines)


def main() -> None:
    """Print the table and a plot; exits with 1 when a rank was missing or given twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES))
    parser.add_argument("--rounds", type=int, default=5, help="restarts (5)")
    parser.add_argument("--idle", type=float, default=5.0, help="seconds to watch idle agents (5)")
    parser.add_argument("--silence", type=float, default=SILENCE, help="seconds until a silent agent is lost (1.5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write everything")
    options = parser.parse_args()
    load = Load()
    print(
        "| agents | first (s) | after the last join (s) | restart, median (s) | restart, best (s) | messages | bytes "
        "| server's CPU for a restart (s) | all agents' (s) | server's memory (MB) | idle bytes/s | idle CPU (%) |"
    )
    print("|--:" * 12 + "|")
    scales = []
    for nodes in options.nodes:
        scales.append(measure(nodes, options.rounds, options.idle, options.silence))
        print(row(scales[-1]), flush=True)
    points = {
        one.nodes: (one.first.after_last_join, min(each.whole for each in one.restarts))
        for one in scales
        if one.restarts
    }
    print("\n" + plot(points))
    print(f"Meanwhile others used {load.of_others():.0%} of this machine.")
    if options.json:
        plain = [
            {**scale._asdict(), "first": scale.first._asdict(), "restarts": [one._asdict() for one in scale.restarts]}
            for scale in scales
        ]
        options.json.write_text(json.dumps(plain, indent=1) + "\n")
    if not all(one.dense for scale in scales for one in (scale.first, *scale.restarts)):
        raise SystemExit("ranks were missing or given twice")


if __name__ == "__main__":
    main()
