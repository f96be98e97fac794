"""Nodes on one machine: network namespaces with addresses, a hostname and a hosts file of their own, on one switch.

Root, iproute2 and /dev/net/tun are needed. Nothing is seen of it outside but the names of the namespaces, which no
other run has; addresses are the same in every lab.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count, permutations
from pathlib import Path
from typing import TypeVar

import pytest
from launches import Launcher, Running, marked
from wire import TUN, Link, Switch, hardware_address, open_tap

CUT = Link(loss=1.0)
CLONE_NEWNET = 0x40000000
T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)
_labs = count()

_ENTER = 'mount --bind "$1" /etc/hosts && hostname "$0" && shift && exec "$@"'


def require() -> None:
    """Fail the test, with what to do, where nodes cannot be made."""
    if os.geteuid() != 0:
        pytest.fail("network namespaces need root: run these tests as root, or in a container with CAP_SYS_ADMIN")
    for program, package in (("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            pytest.fail(f"these tests need `{program}`: apt-get install {package}")
    if not os.path.exists(TUN):
        pytest.fail(f"these tests need {TUN}: modprobe tun, or give the container --device {TUN}")


class Node:
    """One machine. `number` is its place on the switch."""

    def __init__(self, number: int, lab: str, tmp: Path) -> None:
        self.number = number
        self.name = f"node{number}"
        self.address = f"10.78.0.{11 + number}"
        self.second_address = f"10.79.0.{11 + number}"
        self.address6 = f"fd00:78::{11 + number}"
        self.namespace = f"{lab}-{number}"
        self.hosts = tmp / self.name / "hosts"
        self.hosts.parent.mkdir()
        self.launcher = Launcher(self.hosts.parent)
        self.name_as(self.name)

    def name_as(self, name: str) -> None:
        """Have launches here find this hostname from now on; see `name_all` for the others."""
        self.name = name
        enter = ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "--uts"]
        self.launcher.wrapper = [*enter, "sh", "-c", _ENTER, name, str(self.hosts)]

    def start(self, *args: object, env: dict[str, str] | None = None) -> Running:
        """Begin a launch here; its process is the agent itself."""
        return self.launcher.start(*args, env=env)

    def run(self, *args: object) -> str:
        """What a command of this machine's prints, e.g. of iproute2."""
        return _run("nsenter", f"--net=/run/netns/{self.namespace}", *args)

    def inside(self, call: Callable[[], T]) -> T:
        """What a call returns that is made on this machine's network; sockets that it opens are of this machine."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(self._within, call).result()

    def _within(self, call: Callable[[], T]) -> T:
        with open(f"/run/netns/{self.namespace}", "rb") as file:
            if _libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter {self.namespace}")
        return call()

    def crash(self) -> None:
        """SIGKILL everything that was launched here; agents first, or they would tell of their workers' deaths."""
        agents = {running.pid for running in self.launcher.running}
        killed = set()
        while pids := marked(self.launcher.mark):  # again: one that is executing its program cannot be told
            killed |= pids
            for pid in sorted(pids, key=lambda pid: pid not in agents):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for running in self.launcher.running:
            if running.pid in killed:
                running.process.wait()

    def knows(self, names: Iterable[tuple[str, str]]) -> None:
        """Have the hosts file hold these (address, name) and localhost; read by whoever looks up a name next."""
        lines = [("127.0.0.1", "localhost"), ("::1", "localhost"), *names]
        self.hosts.write_text("".join(f"{address} {name}\n" for address, name in lines))

    def speaks_only(self, family: str) -> None:
        """Have this machine be without the other family: "4" or "6"."""
        if family == "4":
            self.run("sh", "-c", "echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6")
        else:
            self.run("ip", "-4", "addr", "flush", "dev", "eth0")

    def listens(self, port: int) -> int:
        """How many sockets of this machine listen on the port."""
        return len(self.run("ss", "-Hltn", f"sport = :{port}").splitlines())


class Nodes(list[Node]):
    """Machines that know each other's names, and the switch between them."""

    switch: Switch

    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Node] = []
        """Machines that take no part in jobs, at the places of the switch behind the others."""

    def link(self, one: int, other: int, link: Link) -> None:
        """Have frames between two nodes fare like that, both ways."""
        self.switch.links[one, other] = self.switch.links[other, one] = link

    def all_links(self, link: Link) -> None:
        """Have all frames fare like that."""
        for pair in permutations(range(len(self) + len(self.servers)), 2):
            self.switch.links[pair] = link

    def cut(self, *numbers: int) -> None:
        """Take these nodes, together, off the others."""
        for one in numbers:
            for other in range(len(self) + len(self.servers)):
                if other not in numbers:
                    self.link(one, other, CUT)

    def heal(self) -> None:
        """Have all frames arrive at once again."""
        self.switch.links.clear()

    def name_all(self, more: Iterable[tuple[str, str]] = (), known_to: Iterable[int] | None = None) -> None:
        """Have nodes, all of them unless said, know each by its name, in both families, and `more`."""
        names = [pair for node in self for pair in ((node.address, node.name), (node.address6, node.name))]
        for number in range(len(self)) if known_to is None else known_to:
            self[number].knows([*names, *more])


@contextmanager
def nodes(number: int, tmp: Path, servers: int = 0) -> Iterator[Nodes]:
    """So many nodes, and servers beside them; whatever was launched on them is killed at the end."""
    require()
    lab = f"lt{os.getpid()}x{next(_labs)}"
    made = Nodes()
    devices: list[int] = []
    try:
        for each in range(number + servers):
            node = Node(each, lab, tmp)
            (made if each < number else made.servers).append(node)
            devices.append(_plug_in(node))
        made.switch = Switch(devices)
        made.name_all()
        yield made
    finally:
        for node in (*made, *made.servers):
            node.crash()
        if hasattr(made, "switch"):
            made.switch.close()
        for fd in devices:
            os.close(fd)
        for node in (*made, *made.servers):
            subprocess.run(["ip", "netns", "del", node.namespace], check=False)


def _plug_in(node: Node) -> int:
    """Make the namespace and its one device; the descriptor is the other end of the cable."""
    name = node.namespace
    _ip("", f"netns add {name}")
    fd = open_tap(name)
    _ip("", f"link set {name} address {hardware_address(node.number)}", f"link set {name} netns {name} name eth0")
    _ip(
        name,
        "link set lo up",
        "link set eth0 up",
        f"addr add {node.address}/24 dev eth0",
        f"addr add {node.second_address}/24 dev eth0",
        f"addr add {node.address6}/64 dev eth0 nodad",
    )
    return fd


def _ip(namespace: str, *orders: str) -> None:
    """Have one `ip` carry out all orders; "": in this namespace."""
    _run("ip", *(["-n", namespace] if namespace else []), "-batch", "-", given="\n".join(orders))


def _run(*words: object, given: str = "") -> str:
    done = subprocess.run([str(word) for word in words], input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout
