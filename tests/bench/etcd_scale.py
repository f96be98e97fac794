"""Rendezvous at scale over etcd: so many agents form a round through one member, all on this machine.

    python tests/bench/etcd_scale.py [--nodes 16 64 128 256] [--rounds 3] [--processes 4] [--json FILE]
    python tests/bench/etcd_scale.py --torch      torch's etcd-v2 instead: needs torch, python-etcd, and etcd before 3.6

Each agent is a meeting as the launcher runs it, with its threads and its own connections, but without workers. All
join at once; then, once a round, one reports a failure, and all join again. Needs `etcd` on PATH.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

SUPPORT = Path(__file__).parents[1] / "support"
sys.path.append(str(SUPPORT))  # behind python-etcd, whose name one of its modules has

RUN_ID = "many-agents"
PATIENCE = 120.0
LEASE = 10


class Report(NamedTuple):
    """How one process's agents came to their seats. Times are monotonic seconds."""

    last_join: float
    last_seat: float
    ranks: list[int]
    requests: list[int]
    bytes: list[int]


class Agent:
    """A meeting, and what it was told."""

    def __init__(self, endpoint: str, number: int, nodes: int) -> None:
        from launcher_core.model.job import Node
        from launcher_core.model.settings import RendezvousParameters
        from launcher_core.rules.clerk import Clerk
        from launcher_core.rules.register import Terms
        from launcher_core.rules.round import Limits
        from launcher_core.runtime.register_meeting import RegisterMeeting
        from launcher_plugins.c10d_store import C10dStore
        from launcher_plugins.etcd.settings import register_of

        params = RendezvousParameters("etcd", endpoint, RUN_ID, nodes, nodes, None, lease_ttl=str(LEASE))
        self.register = register_of(params)
        terms = Terms(Limits(nodes, nodes, max_restarts=1 << 20), PATIENCE, self.register.lease_seconds)
        clerk = Clerk(terms, leased=True)
        self.meeting = RegisterMeeting(self.register, C10dStore(), clerk, 0.2, "127.0.0.1")
        self.node = Node(f"{os.getpid()}-{number}", f"node-{number}", 1, pid=os.getpid())
        self.news: SimpleQueue[Any] = SimpleQueue()
        self.round = -1

    def join(self) -> None:
        """Ask for a place, in the first round or the next."""
        if self.round < 0:
            self.meeting.start(self.news.put)
        self.meeting.join(self.node)

    def until(self, kind: type, give_up: float) -> Any:
        """The next news of this kind, others are passed over."""
        while True:
            try:
                news = self.news.get(timeout=max(0.0, give_up - time.monotonic()))
            except Empty:
                raise SystemExit(f"{self.node.name}: no {kind.__name__} in {PATIENCE:g} s") from None
            if isinstance(news, kind):
                return news
            if type(news).__name__ in ("Trouble", "Cut", "Over"):
                raise SystemExit(f"{self.node.name}: {news}")


def take_part(pipe: Connection, endpoint: str, first: int, count: int, nodes: int) -> None:
    """Be so many agents: "join" has all of them meet, "fail" has the first report a failure, None ends it."""
    from launcher_core.model.news import Formed, Regroup

    agents = [Agent(endpoint, first + index, nodes) for index in range(count)]
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        give_up = time.monotonic() + PATIENCE
        if order == "idle":
            before = [_used(agent) for agent in agents]
            time.sleep(LEASE)  # nothing happens: that is what is measured
            pipe.send(sum(_used(agent)[1] - old[1] for agent, old in zip(agents, before, strict=True)))
            continue
        before = [_used(agent) for agent in agents]
        if order == "fail":
            agents[0].meeting.failed(agents[0].round, "asked to")
        joined = _join_all(agents, order, Regroup, give_up)
        places = [agent.until(Formed, give_up).place for agent in agents]
        seated = time.monotonic()
        for agent, place in zip(agents, places, strict=True):
            agent.round = place.round
        used = [(now[0] - old[0], now[1] - old[1]) for now, old in zip(map(_used, agents), before, strict=True)]
        ranks = [place.group_rank for place in places]
        pipe.send(Report(joined, seated, ranks, [one[0] for one in used], [one[1] for one in used]))
    for agent in agents:
        agent.meeting.abandon("the measurement is over")
    for agent in agents:
        agent.meeting.close()
    pipe.send("ended")


def _join_all(agents: Sequence[Agent], order: str, regroup: type, give_up: float) -> float:
    for agent in agents:
        if order != "join":
            agent.until(regroup, give_up)
        agent.join()
    return time.monotonic()


def _used(agent: Agent) -> tuple[int, int]:
    traffic = agent.register._gateway.traffic
    return traffic.requests, traffic.sent + traffic.received


class Round(NamedTuple):
    """Seconds; requests and bytes of one agent."""

    whole: float
    after_last_join: float
    requests_most: int
    requests_median: float
    bytes_most: int
    bytes_median: float


def measure(endpoint: str, nodes: int, rounds: int, processes: int) -> tuple[list[Round], float]:
    """The first round and the next ones; and what an idle agent costs in bytes a second."""
    context = multiprocessing.get_context("spawn")
    pipes, children, first = [], [], 0
    for index in range(processes):
        count = nodes // processes + (index < nodes % processes)
        ours, theirs = context.Pipe()
        child = context.Process(target=take_part, args=(theirs, endpoint, first, count, nodes), daemon=True)
        child.start()
        pipes.append(ours)
        children.append(child)
        first += count
    for pipe in pipes:
        assert _received(pipe) == "ready"
    told = [_one_round(pipes, "join")]
    told += [_one_round(pipes, "fail") for _ in range(rounds)]
    for pipe in pipes:
        pipe.send("idle")
    idle = sum(_received(pipe) for pipe in pipes) / nodes / LEASE
    for pipe in pipes:
        pipe.send(None)
    for pipe, child in zip(pipes, children, strict=True):
        _received(pipe)
        child.join()
    return told, idle


def _one_round(pipes: Sequence[Connection], order: str) -> Round:
    began = time.monotonic()
    for index, pipe in enumerate(pipes):
        pipe.send(order if order == "join" or index == 0 else "again")
    reports: list[Report] = [_received(pipe) for pipe in pipes]
    ranks = sorted(rank for one in reports for rank in one.ranks)
    if ranks != list(range(len(ranks))):
        raise SystemExit(f"ranks are not dense: {ranks}")
    seated = max(one.last_seat for one in reports)
    requests = [number for one in reports for number in one.requests]
    size = [number for one in reports for number in one.bytes]
    return Round(
        seated - began,
        seated - max(one.last_join for one in reports),
        max(requests),
        statistics.median(requests),
        max(size),
        statistics.median(size),
    )


def _received(pipe: Connection) -> Any:
    if not pipe.poll(PATIENCE):
        raise SystemExit(f"nothing within {PATIENCE:g} s")
    try:
        return pipe.recv()
    except EOFError as error:
        raise SystemExit("a process of the measurement ended; see above") from error


def _cluster(folder: Path, **more: Any) -> Any:
    spec = importlib.util.spec_from_file_location("etcd_servers", SUPPORT / "etcd.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Cluster(folder, **more)


def _by_torch(numbers: Sequence[int]) -> None:
    import rendezvous_torch

    for nodes in numbers:
        with tempfile.TemporaryDirectory() as folder, _cluster(Path(folder), flags=["--enable-v2"]) as cluster:
            print(nodes, rendezvous_torch.measure(nodes, cluster.endpoint), flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 64, 128, 256])
    parser.add_argument("--rounds", type=int, default=3, help="restarts after the first round")
    parser.add_argument("--processes", type=int, default=4, help="that the agents share")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--torch", action="store_true", help="torch's etcd-v2, over the same server's v2 API")
    args = parser.parse_args(argv)
    if args.torch:
        return _by_torch(args.nodes)
    found: dict[int, Any] = {}
    print("| nodes | first round, s | next (median), s | requests (most) | kB (most) | idle B/s |")
    print("|---:|---:|---:|---:|---:|---:|")
    for nodes in args.nodes:
        with tempfile.TemporaryDirectory() as folder, _cluster(Path(folder)) as cluster:
            told, idle = measure(cluster.endpoint, nodes, args.rounds, args.processes)
        found[nodes] = {"rounds": [one._asdict() for one in told], "idle_bytes": idle}
        first, later = told[0], told[1:]
        again = statistics.median(one.whole for one in later)
        print(
            f"| {nodes} | {first.whole:.2f} | {again:.2f} | {first.requests_median:.0f} ({first.requests_most}) "
            f"| {first.bytes_median / 1e3:.1f} ({first.bytes_most / 1e3:.0f}) | {idle:.0f} |",
            flush=True,
        )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
