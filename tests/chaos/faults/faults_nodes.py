"""Faults of jobs on several nodes: a failure elsewhere, a node or a network that is gone, clocks that differ."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fault import NOBODY, Fault, Truth, one

EMPTY = "ValueError: shard 3 is empty"
RAISES = """
all_ready()
if rank == {rank}:
    raise ValueError("shard {rank} is empty")
wait()
"""
ECHO = """
import os, signal, time
peers = connect(hub={hub})
if rank != {hub}:
    receive(peers[0])
{root}
"""
SLOW = """
import atexit
def close():
    for peer in peers:
        peer.close()
    time.sleep(0.4)
atexit.register(close)
raise ValueError("shard 3 is empty")
"""
WAITS = "all_ready()\nwait()\n"
SHIFTED = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9
"""
GIVES_UP = ("--rdzv-conf=join_timeout={rejoin},last_call_timeout={call},is_host={hosts}",)
"""For a job that waits in vain for a node."""
STATIC = ("--nnodes=2", "--node-rank={node}", "--master-addr=127.0.0.1", "--master-port={port}")


def kill(node: int) -> Callable[[Any], None]:
    """SIGKILL an agent when all of its workers are there."""

    def act(stage: Any) -> None:
        stage.all_ready()
        os.kill(stage.agents[node].pid, signal.SIGKILL)

    return act


def crash(node: int) -> Callable[[Any], None]:
    """SIGKILL everything on a node, agents first, as when its power fails."""

    def act(stage: Any) -> None:
        stage.all_ready()
        stage.crash(node)

    return act


def cut(node: int) -> Callable[[Any], None]:
    """Take the network of a node away."""

    def act(stage: Any) -> None:
        stage.all_ready()
        stage.nodes.cut(node)

    return act


def kill_worker(rank: int) -> Callable[[Any], None]:
    def act(stage: Any) -> None:
        os.kill(stage.all_ready()[rank], signal.SIGKILL)

    return act


def stop_agent(node: int, number: signal.Signals = signal.SIGTERM) -> Callable[[Any], None]:
    """A signal to the agent, as a scheduler sends it that takes one node away."""

    def act(stage: Any) -> None:
        stage.all_ready()
        stage.agents[node].signal(number)

    return act


def clock(node: int, seconds: int) -> Callable[[Any], Any]:
    """Have every Python process of a node, its agent too, read a wall clock that is off by so much."""

    @contextlib.contextmanager
    def around(stage: Any) -> Iterator[None]:
        folder = Path(stage.folder, f"clock{node}")
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SHIFTED.format(seconds=seconds))
        stage.python_paths[node] = str(folder)
        yield

    return around


def two(what: str, truth: Truth, script: str, **more: Any) -> Fault:
    """On two nodes of two workers."""
    return Fault(what, truth, script, workers=more.pop("workers", 2), nodes=more.pop("nodes", 2), **more)


FAULTS = (
    two("an exception on the second node", one("exception", 3, EMPTY, "node1"), RAISES.format(rank=3)),
    two("an exception on the node that hosts", one("exception", 1, "shard 1 is empty", "node0"), RAISES.format(rank=1)),
    two(
        "an exception on the second of two nodes whose ranks are fixed",
        one("exception", 3, EMPTY, "node1"),
        RAISES.format(rank=3),
        options=STATIC,
        joined=False,
    ),
    two(
        "an exception on the third of four nodes",
        one("exception", 5, "shard 5 is empty", "node2"),
        RAISES.format(rank=5),
        nodes=4,
    ),
    two(
        "an exit code on the second node",
        one("exit_code", 2, "exit code 77", "node1"),
        "import sys\nall_ready()\nif rank == 2:\n    sys.exit(77)\nwait()\n",
    ),
    two(
        "a worker of the second node is killed from outside",
        one("signal", 3, "SIGKILL", "node1"),
        WAITS,
        acts=kill_worker(3),
    ),
    two(
        "a crash on the second node, after which the first loses its connections",
        Truth(("segmentation_fault", "signal"), 3, "SIGSEGV", "node1"),
        ECHO.format(hub=3, root="import ctypes\nctypes.string_at(0)"),
    ),
    two(
        "an exception on the second node, after which the first loses its connections",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root='raise ValueError("shard 3 is empty")'),
    ),
    two(
        "the first node's workers die of the lost connection before it has ended",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root=SLOW),
    ),
    two(
        "the same on four nodes",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root=SLOW),
        nodes=4,
    ),
    two(
        "an exception on the second node, whose clock is ten minutes behind",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root='raise ValueError("shard 3 is empty")'),
        around=clock(1, -600),
    ),
    two(
        "an exception on the second node, whose clock is ten minutes ahead",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root='raise ValueError("shard 3 is empty")'),
        around=clock(1, 600),
    ),
    two(
        "the lost connections come first, and the clock is ten minutes ahead",
        one("exception", 3, EMPTY, "node1"),
        ECHO.format(hub=3, root=SLOW),
        around=clock(1, 600),
    ),
    two(
        "a worker of the second node is killed, one loses its connection, the others raise when they are told to stop",
        one("signal", 3, "SIGKILL", "node1"),
        """
        import os, signal
        def told(*_):
            raise RuntimeError("step was interrupted")
        signal.signal(signal.SIGTERM, told)
        (peer,) = serve("ring", 1) if rank == 3 else [reach("ring")] if rank == 0 else [None]
        all_ready()
        if rank == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if rank == 0:
            receive(peer)
        wait()
        """,
    ),
    two(
        "an exit code on the second node after a restart of another cause",
        one("exit_code", 3, "exit code 5", "node1"),
        """
        import sys
        all_ready()
        if rank == 0 and attempt == 0:
            raise ValueError("only once")
        if rank == 3 and attempt == 1:
            sys.exit(5)
        wait()
        """,
        options=("--max-restarts=1",),
    ),
    two(
        "the agent of the second node is killed",
        one("node_lost", NOBODY, "node1", "node1"),
        WAITS,
        options=GIVES_UP,
        acts=kill(1),
        hears=(0,),
    ),
    two(
        "everything on the second node is killed, and connections to it break",
        one("node_lost", NOBODY, "node1", "node1"),
        ECHO.format(hub=3, root="ready()\nif rank == 3:\n    wait()\n").replace("peers = ", "ready()\npeers = "),
        options=GIVES_UP,
        acts=crash(1),
        hears=(0,),
    ),
    two(
        "the node that hosts the rendezvous is gone",
        Truth(("host_lost", "node_lost"), NOBODY, "host", ""),
        WAITS,
        options=("--rdzv-conf=join_timeout=30,last_call_timeout={call},host_loss_timeout=1,is_host={hosts}",),
        acts=crash(0),
        hears=(1,),
    ),
    two(
        "the network of the second node is cut",
        one("node_lost", NOBODY, "node1", "node1"),
        WAITS,
        options=GIVES_UP,
        acts=cut(1),
        hears=(0,),
        networked=True,
    ),
    two(
        "an exception on the second of two machines",
        one("exception", 3, EMPTY, "node1"),
        RAISES.format(rank=3),
        networked=True,
    ),
    two(
        "the network of one of four machines is cut",
        one("node_lost", NOBODY, "node2", "node2"),
        WAITS,
        nodes=4,
        workers=1,
        options=GIVES_UP,
        acts=cut(2),
        hears=(0, 1, 3),
        networked=True,
    ),
    two(
        "a crash on one of four machines, after which the others lose their connections",
        Truth(("segmentation_fault", "signal"), 3, "SIGSEGV", "node3"),
        ECHO.format(hub=3, root="import ctypes\nctypes.string_at(0)"),
        nodes=4,
        workers=1,
        networked=True,
    ),
    two(
        "the agent of the second node is told to stop",
        one("node_lost", NOBODY, "SIGTERM", "node1"),
        WAITS,
        options=GIVES_UP,
        acts=stop_agent(1),
        hears=(0,),
    ),
    two(
        "the machine of the second node is wanted back",
        one("preempted", NOBODY, "node1", "node1"),
        WAITS,
        options=("--preempt-signal=SIGUSR1",),
        acts=stop_agent(1, signal.SIGUSR1),
    ),
    two(
        "a program that is not there, on the second node only",
        one("start_failed", NOBODY, "train", "node1"),
        "wait()\n",
        options=(*GIVES_UP, "--no-python"),
        program=("./train{node}",),
        files=(("train0", "#!/bin/sh\nexec sleep 60\n"), ("train1", "#!/opt/none/python\n")),
    ),
    two(
        "a module that only the second node lacks",
        one("exception", 3, "ModuleNotFoundError: No module named 'apex_9'", "node1"),
        "all_ready()\nif rank == 3:\n    import apex_9\nwait()\n",
    ),
)
