"""Store throughput: set+get pairs per second, our server against torch's, asked by torch's own clients.

Run by an interpreter that has torch (CPU is enough) and this package:

    python tests/bench/store_throughput.py [--clients 1 16 256] [--rounds 7] [--seconds 1]

Each server is a process of its own; the clients are torch's C++ ones, spread over two more. Rounds alternate
between the servers, so that a machine that slows down slows all. Prints the median of pairs a second and of the
server's CPU time for a pair.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from figures import OURS, Figure, Load, show

SERVER = """
import sys
from launcher_core.runtime.serving import PortServer, listen
from launcher_plugins.c10d_store.service import StoreService
server = PortServer(listen("127.0.0.1", 0), [StoreService()])
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
"""
TORCH = """
import sys
from torch.distributed import TCPStore
store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, use_libuv={libuv})
print(store.port, flush=True)
sys.stdin.read()
"""
SERVERS = {
    "torch libuv": TORCH.format(libuv=True),
    "torch legacy": TORCH.format(libuv=False),
    OURS: SERVER,
}
PROCESSES = 2
VALUE = "v" * 100


class Server:
    """A store server in a process of its own, from `start` to `stop`."""

    def __init__(self, script: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def cpu_seconds(self) -> float:
        """User and system time it has used so far."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class Clients:
    """A process of torch clients, kept for all measurements: importing torch takes longer than they do."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=ask, args=(theirs,), daemon=True)
        self.process.start()


def ask(pipe: Connection) -> None:
    """Serve one Clients: (port, clients) connects, seconds has each make pairs; answers how many."""
    from torch.distributed import TCPStore

    def connect(port: int) -> Any:
        return TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=60))

    connected: dict[int, list[Any]] = {}
    with ThreadPoolExecutor(128) as pool:  # torch looks up names when it connects: all at once, or it takes long
        while True:
            port, clients = pipe.recv()
            stores = connected.setdefault(port, [])
            stores += pool.map(connect, [port] * (clients - len(stores)))
            pipe.send(len(stores))
            until = time.monotonic() + pipe.recv()
            pipe.send(sum(pool.map(make_pairs, stores[:clients], [until] * clients)))


def make_pairs(store: Any, until: float) -> int:
    """Set and get one key until then; how often."""
    name, pairs = f"{os.getpid()}/{id(store)}", 0
    while time.monotonic() < until:
        store.set(name, VALUE)
        store.get(name)
        pairs += 1
    return pairs


def measure(server: Server, processes: list[Clients], clients: int, seconds: float) -> tuple[float, float]:
    """(Pairs a second, the server's CPU microseconds for each)."""
    share, rest = divmod(clients, len(processes))
    shares = [share + (index < rest) for index in range(len(processes))]
    for process, share in zip(processes, shares, strict=True):
        process.pipe.send((server.port, share))
    for process in processes:
        process.pipe.recv()
    cpu = server.cpu_seconds()
    for process in processes:
        process.pipe.send(seconds)
    pairs = sum(process.pipe.recv() for process in processes)
    return pairs / seconds, (server.cpu_seconds() - cpu) / pairs * 1e6


def figures(*, clients: Sequence[int] = (1, 16, 256), rounds: int = 7, seconds: float = 1.0) -> list[Figure]:
    """Throughput and the server's cost, for each number of clients."""
    servers = {name: Server(script) for name, script in SERVERS.items()}
    processes = [Clients() for _ in range(PROCESSES)]
    found = []
    try:
        for count in clients:
            words = "1 client" if count == 1 else f"{count} clients"
            rates, costs = Figure(f"store, {words}", "pairs/s"), Figure(f"store, {words}, server's CPU", "us a pair")
            for _ in range(rounds):
                for name, server in servers.items():
                    rate, cost = measure(server, processes, count, seconds)
                    rates.add(name, rate)
                    costs.add(name, cost)
            found += [rates, costs]
    finally:
        for server in servers.values():
            server.stop()
        for process in processes:
            process.process.terminate()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 256])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    load = Load()
    show(figures(clients=options.clients, rounds=options.rounds, seconds=options.seconds), load)


if __name__ == "__main__":
    main()
