"""What the faults' scripts have in common: who a worker is, and connections that break when a peer goes."""

from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

rank = int(os.environ["RANK"])
local_rank = int(os.environ["LOCAL_RANK"])
node = int(os.environ["GROUP_RANK"])
world = int(os.environ["WORLD_SIZE"])
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
_SHARED = Path(os.environ["FAULT_FOLDER"])


def wait(seconds: float = 60) -> None:
    """Train on, until somebody ends this."""
    threading.Event().wait(seconds)


def ready() -> None:
    """Note that this worker is there, with its PID; outside acts wait for all of them."""
    path = _SHARED / f"tmp.{attempt}.{rank}"
    path.write_text(str(os.getpid()))
    path.rename(_SHARED / f"ready.{attempt}.{rank}")


def all_ready() -> None:
    """Wait until every rank is there."""
    ready()
    while not all((_SHARED / f"ready.{attempt}.{one}").exists() for one in range(world)):
        wait(0.005)


def pid_of(other: int) -> int:
    """The PID of another rank that is there."""
    return int((_SHARED / f"ready.{attempt}.{other}").read_text())


def connect(hub: int) -> list[socket.socket]:
    """Connections between the hub and each other rank, when all of them are there; of the hub all, of another one."""
    name = f"hub{hub}"
    return serve(name, world - 1) if rank == hub else [reach(name)]


def serve(name: str, number: int) -> list[socket.socket]:
    """So many connections that come in by this name."""
    os.chdir(_SHARED)  # for a short path
    path = f"{name}.{attempt}"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{path}.tmp")
    listening.listen(number)
    os.rename(f"{path}.tmp", path)
    found = [listening.accept()[0] for _ in range(number)]
    listening.close()
    return found


def reach(name: str) -> socket.socket:
    """A connection to whoever serves this name, when it does."""
    os.chdir(_SHARED)
    path = f"{name}.{attempt}"
    while not os.path.exists(path):
        wait(0.005)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def receive(connection: socket.socket) -> bytes:
    """What a peer sends; raises what TCP raises when it is gone."""
    data = connection.recv(1)
    if not data:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return data
