"""Many workers, their groups and their helpers, and what is left when they are gone: nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from launcher_core.hooks.ports import Starter
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system

sys.path.append(str(Path(__file__).parent))  # workers import the functions by name, as they would a user's
import started_functions as functions
import starting
from starting import ENV, Ended, call, dispose, for_commands, sh, wait_for

pytestmark = pytest.mark.timeout(120)
starter = starting.starter


@for_commands
def test_a_group_lives_as_long_as_a_grandchild_does(starter: Starter) -> None:
    child = starter.start(Command(("/bin/sh", "-c", "sleep 60 & exit 5")), ENV, Streams())
    try:
        assert wait_for(child) == 5
        assert system.group_alive(child.pid)
    finally:
        dispose(child)


@for_commands
def test_a_kernel_without_pidfd_is_served_by_a_thread(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert sh(starter, "exit 6") == Ended(6, "", "", None)


@pytest.mark.parametrize("method", ["forkserver"])
def test_a_kernel_without_pidfd_is_named_by_the_fork_server(starter: Starter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "pid_fd", refuse)
    with pytest.raises(OSError, match="forkserver cannot watch its worker: it needs"):
        starter.start(Command(function=functions.wait_for_ever), ENV, Streams())


def refuse(pid: int) -> int:
    raise NotImplementedError("it needs Linux 5.3")


@for_commands
def test_exit_statuses_are_kept_though_the_launcher_was_told_to_ignore_children(starter: Starter) -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        system.keep_exit_statuses()
        assert sh(starter, "exit 6").code == 6
    finally:
        signal.signal(signal.SIGCHLD, old)


@pytest.mark.parametrize("method", ["forkserver"])
def test_a_server_that_is_closed_waits_for_its_children(starter: Starter) -> None:
    reading, writing = os.pipe()
    child = starter.start(Command(function=functions.read_a_line), ENV, Streams(reading))
    try:
        starter.close()
        os.write(writing, b"still here\n")
        assert (wait_for(child), child.value()) == (0, "still here\n")
    finally:
        dispose(child)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("method", ["forkserver"])
def test_workers_die_with_their_server_and_the_next_start_has_another(starter: Starter) -> None:
    child = starter.start(Command(function=functions.wait_for_ever), ENV, Streams())
    try:
        with open(f"/proc/{child.pid}/stat") as file:
            server = int(file.read().rpartition(")")[2].split()[1])
        os.kill(server, signal.SIGKILL)
        assert wait_for(child) == -signal.SIGKILL
        assert call(starter, functions.double, 4).value == 8
    finally:
        dispose(child)


@pytest.mark.parametrize("method", ["fork"])
def test_a_fork_of_a_process_with_threads_has_none_of_them(starter: Starter) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert call(starter, threading.active_count).value == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()
