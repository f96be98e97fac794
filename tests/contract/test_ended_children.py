"""The end of a child that is asked, then killed: nothing is left of it."""

from __future__ import annotations

import os
import threading

import pytest

from launcher_core.runtime import system

SOON = 20.0


def spawned(*command: str) -> tuple[int, int]:
    pid = system.spawn(command[0], command, os.environ, (0, 1, 2))
    return pid, system.exit_fd(pid)


def is_reaped(pid: int) -> bool:
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return True


def test_a_child_that_ends_by_itself_is_reaped():
    pid, fd = spawned("/bin/sh", "-c", "exit 3")
    system.end(pid, fd, SOON)
    assert is_reaped(pid) and not system.is_open(fd)


def test_a_child_that_does_not_end_is_killed_and_reaped():
    pid, fd = spawned("/bin/sleep", "1000")
    system.end(pid, fd, 0)
    assert is_reaped(pid) and not system.is_open(fd)


def test_a_child_that_takes_its_time_to_die_is_reaped_when_it_has(monkeypatch):
    monkeypatch.setattr(system, "kill_group", lambda pid, signum: True)  # as if it stood still in the kernel
    monkeypatch.setattr(system, "KILLED_WITHIN", 0)
    pid, fd = spawned("/bin/sleep", "1000")
    system.end(pid, fd, 0)
    assert os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    os.kill(pid, 9)
    for thread in threading.enumerate():
        if thread.name == f"end of {pid}":
            thread.join(SOON)
    assert is_reaped(pid)
