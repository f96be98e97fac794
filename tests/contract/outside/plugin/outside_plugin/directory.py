"""Rendezvous `outside-directory`: nodes that share a directory, which --rdzv-endpoint names, meet in it.

A round is a directory `round<N>` with a file for each seat; the round has formed when all seats are taken. The
store of a round lies beside its seats.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import time
from types import SimpleNamespace

from launcher_core import hookimpl
from outside_plugin.calls import note


@hookimpl
def launcher_declare():
    """Keys with their meaning: the launcher refuses all others."""
    return {"keys": {"timeout": "seconds to wait for all nodes, and for a key of the store (60)"}}


@hookimpl
def launcher_make_rendezvous(params):
    """Raises ValueError without a directory, or with a number of nodes that is not fixed."""
    if not os.path.isdir(params.endpoint):
        raise ValueError(f"--rdzv-endpoint={params.endpoint!r} is no directory; name one that all nodes share")
    if params.min_nodes != params.max_nodes:
        raise ValueError(f"--nnodes={params.min_nodes}:{params.max_nodes}: the number of nodes has to be fixed")
    return DirectoryHandler(params)


class RendezvousTimeoutError(Exception):
    """Named as torch elastic's, which is how the launcher knows it."""


class RendezvousClosedError(Exception):
    """Likewise."""


class DirectoryHandler:
    """A RendezvousHandler by shape alone."""

    use_agent_store = False

    def __init__(self, params):
        self._params = params
        self._timeout = float(params.get("timeout", 60))
        self._job = os.path.join(params.endpoint, params.run_id)
        self._round = -1

    def get_backend(self):
        return self._params.backend

    def get_run_id(self):
        return self._params.run_id

    def is_closed(self):
        return os.path.exists(os.path.join(self._job, "closed"))

    def set_closed(self):
        os.makedirs(self._job, exist_ok=True)
        with open(os.path.join(self._job, "closed"), "w"):
            pass

    def num_nodes_waiting(self):
        return len(self._taken(self._round + 1))

    def next_rendezvous(self):
        if self.is_closed():
            raise RendezvousClosedError(f"job {self._params.run_id!r} is over")
        rank = self._sit()
        nodes = self._params.max_nodes
        store = DirectoryStore(os.path.join(self._path(self._round), "store"), self._timeout)
        wait_for(lambda: len(self._taken(self._round)) == nodes, f"only some of {nodes} nodes came", self._timeout)
        if rank == 0:
            store.set("port", str(free_port()).encode())
        where = SimpleNamespace(master_addr="127.0.0.1", master_port=int(store.get("port")))
        note("next_rendezvous", "round", self._round, "rank", rank)
        return SimpleNamespace(store=store, rank=rank, world_size=nodes, bootstrap_store_info=where)

    def shutdown(self):
        note("shutdown", os.getpid())
        self.set_closed()
        return True

    def _sit(self):
        """Take the first free seat of the first round that has one."""
        while True:
            self._round += 1
            os.makedirs(self._path(self._round), exist_ok=True)
            for rank in range(self._params.max_nodes):
                try:
                    seat = os.path.join(self._path(self._round), f"seat{rank}")
                    os.close(os.open(seat, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    continue
                return rank

    def _taken(self, number):
        try:
            return [name for name in os.listdir(self._path(number)) if name.startswith("seat")]
        except FileNotFoundError:
            return []

    def _path(self, number):
        return os.path.join(self._job, f"round{number}")


class DirectoryStore:
    """The part of torch's Store that agents use, with a file for each key."""

    def __init__(self, path, timeout):
        self._path = path
        self._timeout = timeout
        os.makedirs(path, exist_ok=True)

    def set(self, key, value):
        fresh = f"{self._file(key)}.{os.getpid()}"
        with open(fresh, "wb") as file:
            file.write(value)
        os.replace(fresh, self._file(key))

    def get(self, key):
        wait_for(lambda: os.path.exists(self._file(key)), f"nobody set {key}", self._timeout)
        with open(self._file(key), "rb") as file:
            return file.read()

    def add(self, key, amount):
        with open(self._file(key), "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            number = int(file.read() or 0) + amount
            file.truncate(0)
            file.write(str(number))
            return number

    def _file(self, key):
        return os.path.join(self._path, key.replace("/", "%"))


def wait_for(condition, otherwise, timeout):
    """Return when the condition holds. Raises RendezvousTimeoutError when it does not in time."""
    give_up = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > give_up:
            raise RendezvousTimeoutError(f"{otherwise} within {timeout:g} s")
        select.select([], [], [], 0.01)


def free_port():
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
