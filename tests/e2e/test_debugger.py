"""A debugger on a worker: the kernel tells it first how the worker ended, and the launcher when it lets go."""

from __future__ import annotations

import ctypes
import os
import re
import signal
from pathlib import Path

import pytest
from launches import Launcher, until

PTRACE_SEIZE = 0x4206
WALL = 0x40000000


def attach(pid: int) -> None:
    """Make this thread the process's debugger."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if libc.ptrace(PTRACE_SEIZE, pid, None, None) != 0:
        pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")


def status(pid: int, field: str) -> str:
    text = Path(f"/proc/{pid}/status").read_text()
    return re.search(rf"^{field}:\s*(\S+)", text, re.MULTILINE)[1]


def test_a_worker_that_is_killed_under_a_debugger_is_reported_when_the_debugger_lets_go(
    launcher: Launcher, tmp_path: Path
) -> None:
    told = tmp_path / "pid"
    running = launcher.start("--no-python", "sh", "-c", f"echo $$ >{told}.new; mv {told}.new {told}; exec sleep 600")
    until(told.exists, "the worker is there")
    worker = int(told.read_text())
    attach(worker)
    os.kill(worker, signal.SIGKILL)
    until(lambda: status(worker, "State") == "Z", "the worker is dead")
    naps = int(status(running.pid, "voluntary_ctxt_switches"))
    until(lambda: int(status(running.pid, "voluntary_ctxt_switches")) > naps + 5, "the launcher looks again", 10)
    os.waitpid(worker, WALL)
    result = running.wait(10)
    assert (result.code, "SIGKILL" in result.err, "Traceback" in result.err) == (1, True, False), result.err
