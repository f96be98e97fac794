"""The rendezvous backends that the same jobs are run over: where each of them meets, and how a test sets its times.

What a backend can do is read from what its plugin declares; a test runs over those that declare what it needs.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from math import ceil
from pathlib import Path

import pytest
from etcd import need
from launches import until
from nodes import Node, Nodes

from launcher_core.hooks.ports import Declaration
from launcher_core.model.capability import Capability

SILENCE = {"c10d": 1.5, "etcd": 2.0, "file": 1.5}
"""Seconds without a sign of life until a node is lost, unless a test says otherwise. etcd has whole ones, from 2 on."""
NETWORKED = ("c10d", "etcd")
"""Those that nodes reach over the network: a cut link cuts nobody off from a file."""
APART = {"c10d": "was cut off from the host", "etcd": "no etcd answered"}
"""What a node without workers says when it cannot reach where the job meets any more."""
SERVERS = {"etcd": 1}
"""Nodes beside those of the job."""
MANY, AT_NIGHT = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3")), 20
CLIENT_PORT = 2379


def declared(backend: str) -> Declaration:
    """What the plugin says of itself."""
    made: Declaration = import_module(f"launcher_plugins.{backend}").launcher_declare()
    return made


def able(needs: Capability, *, networked: bool = False) -> list[str]:
    """The backends that declare all of these, in the order of the table."""
    reached = NETWORKED if networked else tuple(SILENCE)
    return [name for name in reached if needs in declared(name).capabilities]


def every(needs: Capability = Capability.ELASTIC, *, networked: bool = False) -> pytest.MarkDecorator:
    """Run the test once over every such backend."""
    return pytest.mark.parametrize("backend", able(needs, networked=networked))


def unnetworked(needs: Capability = Capability.ELASTIC) -> pytest.MarkDecorator:
    """Run the test once over every such backend that no cut link cuts a node off from."""
    return pytest.mark.parametrize("backend", [name for name in able(needs) if name not in NETWORKED])


def rounds(backend: str, costly: bool) -> int:
    """How often what is left to chance is tried: at night as often as was asked for, else mostly over c10d."""
    return MANY if MANY >= AT_NIGHT or (backend == "c10d" and not costly) else 1


def many_times(
    needs: Capability = Capability.ELASTIC, *, networked: bool = False, costly: bool = False
) -> pytest.MarkDecorator:
    """Run the test again and again over every such backend; one that is `costly` only at night."""
    names = able(needs, networked=networked)
    cases = [(name, number) for name in names for number in range(rounds(name, costly))]
    return pytest.mark.parametrize(("backend", "round"), cases)


def silence_conf(backend: str, seconds: float, beats: int = 3) -> dict[str, str]:
    """The --rdzv-conf by which a node without a sign of life is lost after so long."""
    if Capability.LEASE in declared(backend).capabilities:
        return {"lease_ttl": f"{ceil(seconds)}"}
    return {"keep_alive_interval": f"{seconds / beats:g}", "keep_alive_max_attempt": f"{beats}"}


def patience(silence: float) -> float:
    """The most seconds that nodes may take to form a round, of which one may have to be missed first."""
    return 30.0 + 5 * silence


@contextmanager
def meeting_place(backend: str, nodes: Nodes, tmp: Path) -> Iterator[str]:
    """What --rdzv-endpoint is for a job on these nodes."""
    if backend == "etcd":
        with etcd_on(nodes.servers[0], tmp / "etcd") as endpoint:
            yield endpoint
    elif backend == "file":
        folder = tmp / "meeting"
        folder.mkdir(exist_ok=True)
        yield str(folder)
    else:
        yield nodes[0].name


@contextmanager
def etcd_on(node: Node, folder: Path) -> Iterator[str]:
    """An etcd of one member, on a machine of its own: its address for the others."""
    folder.mkdir()
    client, peer, log = f"{node.address}:{CLIENT_PORT}", "http://127.0.0.1:2380", folder / "log"
    words = ["nsenter", f"--net=/run/netns/{node.namespace}", need("etcd", "etcd-server"), "--name=one"]
    words += [f"--data-dir={folder / 'data'}", f"--listen-client-urls=http://{client}", "--logger=zap"]
    words += [f"--advertise-client-urls=http://{client}", f"--listen-peer-urls={peer}"]
    words += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=one={peer}"]
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        until(lambda: "serving client traffic" in log.read_text(), f"etcd is there; see {log}")
        yield client
    finally:
        process.kill()
        process.wait()
