"""Faults that end nothing: one rank does not get on, and the others wait for it."""

from __future__ import annotations

import os
import signal
from typing import Any

from fault import Fault, Truth, one

LIMIT = ("--hang-timeout=2", "--hang-action=stop")
WAITING = """
import os, signal, threading, time
peers = connect(hub={rank})
ready()
if rank != {rank}:
    receive(peers[0])
{does}
"""


def hang(what: str, rank: int, says: str, does: str, **more: Any) -> Fault:
    """Rank `rank` does this for ever; the others wait for it at a socket."""
    node = f"node{rank // 2}" if more.get("nodes", 1) > 1 else "node0"
    script = WAITING.format(rank=rank, does=does)
    return Fault(what, one("hang", rank, says, node), script, options=LIMIT, **more)


def freeze(rank: int) -> Any:
    def act(stage: Any) -> None:
        os.kill(stage.all_ready()[rank], signal.SIGSTOP)

    return act


DEADLOCK = """
one, other = threading.Lock(), threading.Lock()
def second():
    with other:
        time.sleep(0.1)
        one.acquire()
with one:
    threading.Thread(target=second).start()
    time.sleep(0.1)
    other.acquire()
"""

READS = "os.mkfifo('empty')\nos.read(os.open('empty', os.O_RDWR), 1)"

FAULTS = (
    hang("a rank that is stopped (SIGSTOP)", 1, "stopped", "wait()", acts=freeze(1)),
    hang("a rank in a deadlock of two locks", 2, "lock", DEADLOCK),
    hang("a rank that sleeps for ever", 0, "sleep", "time.sleep(1000)"),
    hang("a rank that reads a FIFO that nobody writes", 2, "FIFO", READS),
    hang(
        "a rank that waits for a child that does not end",
        1,
        "process that it started",
        "import subprocess\nsubprocess.run(['sleep', '1000'])",
    ),
    Fault(
        "a rank that beat, and then computes for ever",
        Truth(("hang",), 1, "heartbeat"),
        """
        from launcher_core.worker import heartbeat
        heartbeat()
        all_ready()
        while rank == 1:
            pass
        while True:
            heartbeat()
            wait(0.1)
        """,
        options=LIMIT,
        torchrun=False,
    ),
    Fault(
        "a checkpoint that takes longer than it may",
        Truth(("hang",), 2, "checkpoint"),
        """
        from launcher_core.worker import heartbeat, section
        heartbeat()
        all_ready()
        if rank == 2:
            with section("checkpoint", timeout=0.5):
                wait()
        while True:
            heartbeat()
            wait(0.1)
        """,
        options=LIMIT,
        torchrun=False,
    ),
    Fault(
        "a rank that has left, while the others wait for it",
        Truth(("hang",), 2, "ended"),
        """
        import os
        (line,) = [os.pipe()]
        all_ready()
        if rank != 2:
            os.read(line[0], 1)
        """,
        options=LIMIT,
    ),
    hang(
        "a rank of the second node that is stopped (SIGSTOP)",
        3,
        "stopped",
        "wait()",
        nodes=2,
        workers=2,
        acts=freeze(3),
    ),
)
