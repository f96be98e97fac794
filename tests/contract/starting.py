"""Starting one worker in a test: by which method, to its end, with what it wrote."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher_core.hooks.ports import Child, Starter
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system

DEADLINE = 60.0
ENV = {"PATH": os.environ.get("PATH", os.defpath), "RANK": "7", "LC_ALL": "C.UTF-8"}

for_functions = pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
for_pickling = pytest.mark.parametrize("method", ["spawn", "forkserver"])
for_commands = pytest.mark.parametrize("method", ["exec"])
for_all = pytest.mark.parametrize("method", ["exec", "spawn", "fork", "forkserver"])


class Ended(NamedTuple):
    """One worker from beginning to end."""

    code: int
    out: str
    err: str
    value: Any


def plugin(method: str) -> Any:
    return import_module(f"launcher_plugins.start_methods.{method}")


class Census(NamedTuple):
    """What this process has that it may not gain."""

    descriptors: frozenset[str]
    threads: frozenset[threading.Thread]
    children: frozenset[str]

    def without(self, other: Census) -> Census:
        return Census(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))


NOTHING = Census(frozenset(), frozenset(), frozenset())


def census() -> Census:
    fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    return Census(frozenset(fds), frozenset(threading.enumerate()), frozenset(children))


@pytest.fixture
def starter(method: str) -> Iterator[Starter]:
    """A starter; the test fails that leaves a descriptor, a thread or a child behind."""
    before = census()
    made: Starter = plugin(method).launcher_make_starter()
    yield made
    made.close()
    join_exit_threads()
    assert census().without(before) == NOTHING


def join_exit_threads() -> None:
    """Wait for the threads that stand in for pidfds: the last thing they do is to say that a process has ended."""
    for thread in threading.enumerate():
        if thread.name.startswith("exit of "):
            thread.join(DEADLINE)


def wait_for(child: Child) -> int:
    assert system.wait_readable(child.fd, DEADLINE)
    return child.exit_code()


def dispose(child: Child) -> None:
    if child.fd >= 0:
        system.kill_group(child.pid, signal.SIGKILL)
        system.wait_readable(child.fd, DEADLINE)
        child.reap()


def run(starter: Starter, command: Command, env: dict[str, str] | None = None, stdin: int = -1) -> Ended:
    """Start the command, wait for it, and read what it wrote."""
    files = [system.anonymous_file(name) for name in ("out", "err")]
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        streams = Streams(null if stdin < 0 else stdin, *files)
        child = starter.start(command, ENV if env is None else env, streams)
        try:
            code = wait_for(child)
            out, err = (os.pread(fd, 1 << 20, 0).decode() for fd in files)
            return Ended(code, out, err, child.value())
        finally:
            dispose(child)
    finally:
        for fd in (*files, null):
            os.close(fd)


def call(starter: Starter, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Ended:
    return run(starter, Command(function=function, args=args), **kwargs)


def sh(starter: Starter, script: str, **kwargs: Any) -> Ended:
    return run(starter, Command(argv=("/bin/sh", "-c", script)), **kwargs)


def python(*args: str) -> subprocess.Popen[str]:
    """An interpreter that imports what this one does."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    return subprocess.Popen([sys.executable, *args], env=env, text=True, stdout=-1, stderr=-1)
