"""The same meeting by torch's own rendezvous: handlers in threads of a few processes, and what they meet at.

Over c10d that is a server of its store, over etcd-v2 an etcd that is given. Only what `next_rendezvous` takes is
measured: no launcher, no worker. Needs torch; see rendezvous_scale.py and etcd_scale.py.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

HOST = "127.0.0.1"
RUN_ID = "many-agents"
PROCESSES = 4
PATIENCE = 150.0


class Times(NamedTuple):
    """From the start of all to the end of the last, in seconds."""

    first: float
    restart: float


def serve(pipe: Connection) -> None:
    """Torch's store, until the other end is closed."""
    from torch.distributed import TCPStore

    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    pipe.send(store.port)
    pipe.poll(None)


def take_part(pipe: Connection, backend: str, endpoint: str, count: int, nodes: int) -> None:
    """Be so many of the nodes: each thing received has all of them meet; the answer is (began, ended)."""
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

    if backend == "c10d":
        from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import create_backend
    else:
        from torch.distributed.elastic.rendezvous.etcd_rendezvous_backend import create_backend

    def handler() -> Any:
        params = RendezvousParameters(backend, endpoint, RUN_ID, nodes, nodes, HOST, is_host=False, last_call_timeout=1)
        made, store = create_backend(params)
        return create_handler(store, made, params)

    handlers = [handler() for _ in range(count)]
    pipe.send("ready")
    with ThreadPoolExecutor(count) as pool:
        while pipe.recv():
            began = time.monotonic()
            list(pool.map(lambda one: one.next_rendezvous(), handlers))
            pipe.send((began, time.monotonic()))


def measure(nodes: int, etcd: str = "") -> Times | None:
    """The first meeting of so many and the next; None when one of them takes longer than PATIENCE.

    `etcd`: where an etcd with its v2 API is, to meet there.
    """
    context = multiprocessing.get_context("spawn")
    children = []

    def start(run: Any, *args: Any) -> Connection:
        ours, theirs = context.Pipe()
        child = context.Process(target=run, args=(theirs, *args), daemon=True)
        child.start()
        theirs.close()
        children.append(child)
        return ours

    try:
        backend = "etcd-v2" if etcd else "c10d"
        endpoint = etcd or f"{HOST}:{start(serve).recv()}"
        shares = [nodes // PROCESSES + (index < nodes % PROCESSES) for index in range(PROCESSES)]
        pipes = [start(take_part, backend, endpoint, share, nodes) for share in shares]
        for pipe in pipes:
            pipe.recv()
        first, restart = _meet(pipes), _meet(pipes)
        return None if first is None or restart is None else Times(first, restart)
    finally:
        for child in children:
            child.kill()
            child.join()


def _meet(pipes: list[Connection]) -> float | None:
    for pipe in pipes:
        pipe.send(True)
    give_up = time.monotonic() + PATIENCE
    found = [pipe.recv() for pipe in pipes if pipe.poll(max(0.0, give_up - time.monotonic()))]
    if len(found) < len(pipes):
        return None
    return max(ended for _, ended in found) - min(began for began, _ in found)
