"""Launches from inside the process that runs the tests, which each of them must leave as it was."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from launches import Launcher

from launcher_core.run import main

T = TypeVar("T")


class Surroundings(NamedTuple):
    """What a launch must leave as it was."""

    environ: dict[str, str]
    argv: list[str]
    path: list[str]
    directory: str
    umask: int
    streams: tuple[Any, Any, Any]
    handlers: dict[int, Any]
    blocked: set[Any]
    wakeup_fd: int
    crash_reports: bool
    threads: list[threading.Thread]
    descriptors: dict[str, str]
    children: list[str]


def surroundings() -> Surroundings:
    """This process as it is; to be called in its main thread."""
    umask = os.umask(0o077)
    os.umask(umask)
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)
    descriptors = {fd: _link(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    return Surroundings(
        environ=dict(os.environ),
        argv=list(sys.argv),
        path=list(sys.path),
        directory=os.getcwd(),
        umask=umask,
        streams=(sys.stdin, sys.stdout, sys.stderr),
        handlers={signum: signal.getsignal(signum) for signum in signal.valid_signals()},
        blocked=signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        wakeup_fd=wakeup_fd,
        crash_reports=faulthandler.is_enabled(),
        threads=threading.enumerate(),
        descriptors={fd: link for fd, link in descriptors.items() if link},
        children=Path("/proc/thread-self/children").read_text().split(),
    )


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # the descriptor that the directory was listed by
        return ""


def differences(before: Surroundings, after: Surroundings) -> dict[str, tuple[Any, Any]]:
    """What has changed: the fields with what they were and what they are."""
    pairs = zip(before._fields, before, after, strict=True)
    return {name: (was, now) for name, was, now in pairs if was != now}


class InProcess:
    """Launches from inside this process, which is checked to be as before after each."""

    def main(self, *args: object) -> None:
        """What `main` does with these arguments."""
        self.call(lambda: main([str(arg) for arg in args]))

    def call(self, launch: Callable[[], T]) -> T:
        """What `launch` returns or raises."""
        before = surroundings()
        try:
            return launch()
        finally:
            changed = differences(before, surroundings())
            assert not changed, f"the launch did not leave this process as it was: {changed}"


class Distributions:
    """Distributions with plugins, in folders on the path of this process and of a test's launches."""

    def __init__(self, launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
        self._launcher = launcher
        self._monkeypatch = monkeypatch
        self._modules: list[str] = []

    def install(self, name: str, entry_points: str, **sources: str) -> None:
        """Add one, version 1.0, with these entry points and modules."""
        site = self._launcher.tmp / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in sources.items():
            (site / f"{module}.py").write_text(source)
        self._modules += sources
        self._monkeypatch.syspath_prepend(site)
        self._launcher.add_to_path(site)

    def forget(self) -> None:
        """Have this process import their modules no more."""
        for module in self._modules:
            sys.modules.pop(module, None)
