"""A cluster of real etcd members, each on a machine of its own, on the network of a job's nodes."""

from __future__ import annotations

import base64
import signal
import ssl
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from etcd import Cluster
from launches import until
from nodes import Node

HASTY = ("--heartbeat-interval=50", "--election-timeout=500")
"""A new leader is there in about a second; by default it is twice that."""


class Pair(NamedTuple):
    """A key in etcd that a job has written, after the job's own prefix."""

    key: str
    lease: int
    created: int


class Apart(Cluster):
    """Member i is on machine i, at etcd's usual ports."""

    patience = 0.5

    def __init__(self, machines: list[Node], folder: Path, flags: tuple[str, ...] = ()) -> None:
        super().__init__(folder, len(machines), flags=flags)
        self.machines = machines

    def host(self, index: int) -> str:
        return f"{self.machines[index].address}:2379"

    def peer(self, index: int) -> str:
        return f"{self.machines[index].address}:2380"

    def enter(self, index: int) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.machines[index].namespace}"]

    def _fetch(self, index: int, request: urllib.request.Request, context: ssl.SSLContext | None) -> bytes:
        fetch = super()._fetch
        answer: bytes = self.machines[index].inside(lambda: fetch(index, request, context))
        return answer

    @property
    def down(self) -> list[int]:
        """The members that do not run."""
        return [index for index, process in self._processes.items() if process.poll() is not None]

    def mend(self) -> None:
        """Have every member run again."""
        for index in self.down:
            self.start(index)
        for index in set(range(self.size)) - {*self.down}:
            self.signal(index, signal.SIGCONT)
        self.ready()

    def kill_all(self) -> None:
        """Kill all members at once."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(10)

    def ask_any(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The first answer that any member gives."""

        def asked() -> dict[str, Any] | None:
            for index in range(self.size):
                with suppress(OSError, ValueError):
                    return self.post(path, body, index)
            return None

        answer = until(asked, "a member of etcd answers")
        assert isinstance(answer, dict)
        return answer

    def pairs(self, job: str) -> list[Pair]:
        """What is there of a job, oldest first."""
        root = f"/launcher/{job}/".encode()
        span = {"key": _text(root), "range_end": _text(root[:-1] + b"0"), "sort_target": "CREATE"}
        found = self.ask_any("/v3/kv/range", {**span, "sort_order": "ASCEND"}).get("kvs", [])
        return [_pair(one, len(root)) for one in found]

    def seconds_left(self, job: str) -> list[int]:
        """For how many whole seconds the entry of each node still stands, if nothing more is heard of it."""
        leases = [pair.lease for pair in self.pairs(job) if pair.key.startswith("nodes/")]
        return [int(self.ask_any("/v3/lease/timetolive", {"ID": lease}).get("TTL", -1)) for lease in leases]

    def asked_by(self, node: Node) -> list[int]:
        """The members that this node is connected to."""
        lines = node.run("ss", "-Htn", "state", "established", "dport", "= :2379")
        return [index for index in range(self.size) if f"{self.host(index)} " in f"{lines} "]


def _pair(found: dict[str, Any], skip: int) -> Pair:
    key = base64.b64decode(found["key"])[skip:].decode()
    return Pair(key, int(found.get("lease", 0)), int(found["create_revision"]))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
