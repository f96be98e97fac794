"""Rendezvous `file`: the nodes share a directory, and in it a register that is swapped under a lock.

For nodes that share a file system and nothing else. It needs flock to hold between them, as Linux has it for local
file systems and NFS; nobody hosts, so the job goes on whichever node is lost.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability

if TYPE_CHECKING:
    from launcher_core.model.settings import RendezvousParameters

KEYS = {
    "join_timeout": "seconds to wait for a round to form (600)",
    "last_call_timeout": "seconds to wait for more nodes once MIN are there (30)",
    "keep_alive_interval": "with keep_alive_max_attempt: a node is lost after their product, in seconds (5)",
    "keep_alive_max_attempt": "see keep_alive_interval (3)",
    "poll_interval": "seconds between two looks at the file (0.2)",
    "store": "which store plugin serves the workers (c10d)",
    "timeout": "accepted for torchrun's sake: join_timeout covers it",
}


class FileRegister:
    """A RendezvousBackend. The file holds the fencing token, the number of times it was written, and the state."""

    name = "file"

    def __init__(self, path: str) -> None:
        self._path = path

    def get_state(self) -> tuple[bytes, int] | None:
        """The state and its token; needs no lock, because the file is only ever replaced as a whole."""
        try:
            with open(self._path, "rb") as file:
                token, _, state = file.read().partition(b"\n")
        except FileNotFoundError:
            return None
        return state, int(token)

    def set_state(self, state: bytes, token: int | None = None) -> tuple[bytes, int, bool] | None:
        """Replace the state, if `token` is its token."""
        with open(f"{self._path}.lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = self.get_state()
            if token != (None if now is None else now[1]):
                return None if now is None else (*now, False)
            written = 1 if token is None else token + 1
            with open(f"{self._path}.new", "wb") as file:
                self._write(file, b"%d\n%s" % (written, state))
            os.replace(f"{self._path}.new", self._path)
        return state, written, True

    def _write(self, file: BinaryIO, data: bytes) -> None:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

    def describe(self) -> dict[str, str]:
        """For --dry-run."""
        return {"meets at": self._path}


@hookimpl
def launcher_declare() -> Declaration:
    """Nodes may come and go, and any of them may be lost."""
    return Declaration(Capability.ELASTIC | Capability.SURVIVES_HOST_LOSS | Capability.SHARES_STORE, KEYS)


@hookimpl
def launcher_make_rendezvous(params: RendezvousParameters) -> FileRegister:
    """A register in the directory that --rdzv-endpoint names, one file for each --rdzv-id."""
    directory = params.endpoint
    if not os.path.isdir(directory):
        raise ValueError(f"{directory!r} is no directory here; name one that all nodes see with --rdzv-endpoint")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ValueError(f"this user may not write in {directory}; choose another --rdzv-endpoint")
    return FileRegister(os.path.join(directory, f"{quote(params.run_id, safe='')}.rendezvous"))
