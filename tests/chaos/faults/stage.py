"""Where a fault is played: its folder, its nodes, and the launcher whose report is asked for."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fault import NODES, Fault
from launches import Launcher, Running, marked, until
from nodes import Nodes, nodes

JOB = Path(__file__).parent / "bin" / "job.py"
BOUND = 30.0
"""Seconds in which a launch has to say what went wrong."""
RENDEZVOUS = (
    *("--nnodes={nodes}", "--node-rank={node}", "--rdzv-backend=c10d", "--rdzv-id=faults"),
    "--rdzv-endpoint={host}:{port}",
    "--rdzv-conf=join_timeout={join},last_call_timeout={call},is_host={hosts}",
)
OURS = ("--hang-", "--preempt-")
"""Options that torchrun does not have."""
_NAMED = [
    "unshare",
    "--mount",
    "--uts",
    "sh",
    "-c",
    'mount --bind "$1" /etc/hosts && hostname "$0" && shift && exec "$@"',
]


class Said(NamedTuple):
    """What one node's launcher said: its exit code (None: it did not end), its output, its report as JSON."""

    code: int | None
    out: str
    err: str
    report: dict[str, Any] | None


class Stage:
    """One run of one fault."""

    def __init__(self, fault: Fault, folder: Path, torchrun: str = "") -> None:
        """`torchrun` is the path of one that is asked instead of our launcher."""
        self.fault = fault
        self.folder = folder
        self.torchrun = torchrun
        self.wrapper: list[str] = []
        self.agents: list[Running] = []
        self.python_paths: dict[int, str] = {}
        self.port = free_port()
        self.nodes: Nodes | None = None
        self.tools: list[Launcher] = []
        folder.mkdir()
        (folder / "fault.py").write_text(fault.text())
        shutil.copy(JOB, folder / "job.py")
        (folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in ("localhost", *NODES)))
        for name, text in fault.files:
            (folder / name).write_text(text)
            (folder / name).chmod(0o755 if text.startswith(("#!", "\x7f")) else 0o644)

    def words(self, node: int) -> list[str]:
        """What is launched on a node."""
        facts = {
            "node": node,
            "nodes": self.fault.nodes,
            "port": self.port,
            "host": self.nodes[0].address if self.nodes else "127.0.0.1",
            "hosts": "no" if node else "yes",
            "join": 30,
            "call": 1 if self.torchrun else 0.2,
            "rejoin": 30 if self.torchrun else 4,
        }
        python = str(Path(self.torchrun).with_name("python")) if self.torchrun else sys.executable
        if self.fault.api:
            return [python, "fault.py"]
        words = [python, "-m", "launcher_core", f"--report={self._report(node)}"]
        if self.torchrun:
            words = [self.torchrun, *(["--standalone"] if self.fault.nodes == 1 and self.fault.joined else [])]
        words.append(f"--nproc-per-node={self.fault.workers}")
        if self.fault.nodes > 1 and self.fault.joined:
            words += [word.format(**facts) for word in RENDEZVOUS]
        options = [word for word in self.fault.options if not (self.torchrun and word.startswith(OURS))]
        return words + [word.format(**facts) for word in (*options, *self.fault.program)]

    def _report(self, node: int) -> Path:
        return self.folder / f"report{node}.json"

    def start(self, node: int) -> None:
        """Begin the launch of this node."""
        tool = self.tools[node]
        paths = [str(self.folder), self.python_paths.get(node, "")]
        env = {
            **tool.env,
            "FAULT_FOLDER": str(self.folder),
            "FAULT_REPORT": str(self._report(node)),
            "PYTHONPATH": os.pathsep.join(filter(None, reversed(paths))),
            "OMP_NUM_THREADS": "1",
        }
        wrapper = [*self.wrapper, *(tool.wrapper if self.nodes else [*_NAMED, NODES[node], str(self.folder / "hosts")])]
        out, err = self.folder / f"agent{node}.out", self.folder / f"agent{node}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
            words = [*wrapper, *self.words(node)]
            self.agents.append(Running(subprocess.Popen(words, env=env, cwd=self.folder, **streams), out, err))
        tool.running.append(self.agents[-1])

    def all_ready(self) -> list[int]:
        """The PID of each worker, when all of them are there."""
        number = self.fault.nodes * self.fault.workers
        paths = [self.folder / f"ready.0.{rank}" for rank in range(number)]
        over = self.agents[0].process.poll
        until(lambda: all(path.exists() for path in paths) or over() is not None, "the workers are there", BOUND)
        if over() is not None:
            pytest.fail(f"the launch has ended: {self.agents[0].err}")
        return [int(path.read_text()) for path in paths]

    def crash(self, node: int) -> None:
        """SIGKILL all that was launched on a node, its agent first."""
        os.kill(self.agents[node].pid, signal.SIGKILL)
        for pid in marked(self.tools[node].mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def play(self, bound: float = BOUND) -> list[Said]:
        """Run the fault; what each node's launcher said in the end."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._reap)
            if self.fault.networked:
                self.nodes = stack.enter_context(nodes(self.fault.nodes, self.folder))
                self.tools = [node.launcher for node in self.nodes]
            else:
                for node in range(self.fault.nodes):
                    home = self.folder / f"output{node}"
                    home.mkdir()
                    self.tools.append(Launcher(home))
                    stack.callback(self.tools[-1].clean_up)
            if self.fault.around:
                stack.enter_context(self.fault.around(self))
            for node in range(self.fault.nodes):
                self.start(node)
            if self.fault.acts:
                with contextlib.suppress(pytest.fail.Exception):  # the launch has ended without them
                    self.fault.acts(self)
            return [self._said(node, bound) for node in range(self.fault.nodes) if self._is_heard(node)]

    def _reap(self) -> None:
        """All agents have been killed by now, those without a say, too."""
        for agent in self.agents:
            agent.process.wait(BOUND)

    def _is_heard(self, node: int) -> bool:
        return self.fault.hears is None or node in self.fault.hears

    def _said(self, node: int, bound: float) -> Said:
        running, path = self.agents[node], self._report(node)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(bound)
        found = json.loads(path.read_text()) if path.exists() else None
        return Said(running.process.returncode, running.out, running.err, found)


def free_port() -> int:
    """A port that nobody listens on: the kernel chose it a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
