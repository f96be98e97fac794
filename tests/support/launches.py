"""Launches as a user makes them: real processes of the installed launcher, of which nothing may be left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

MARK = "LAUNCHER_TEST_MARK"
DEADLINE = 60.0
IN_ONE_PIECE = "sys.stdout.reconfigure(write_through=False, line_buffering=True)"
"""For workers that share a stdout: the `-u` that they run with would write the end of each line apart."""


class Result(NamedTuple):
    """How a launch ended. `code` is minus the signal's number when a signal killed the launcher itself."""

    code: int
    out: str
    err: str


class Running:
    """A launch that is going on."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out = out
        self._err = err

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        """What stdout has so far."""
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        """What stderr has so far."""
        return self._err.read_text(errors="replace")

    def signal(self, signum: int) -> None:
        self.process.send_signal(signum)

    def wait(self, timeout: float = DEADLINE) -> Result:
        """The result; fails the test when the launch does not end in time."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the launch did not end within {timeout} s\n--- out\n{self.out}\n--- err\n{self.err}")
        return Result(code, self.out, self.err)


def until(condition: Callable[[], object], what: str, timeout: float = DEADLINE) -> object:
    """What `condition` returns once that is true; fails the test when it does not become so in time."""
    give_up = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > give_up:
            pytest.fail(f"waited {timeout} s in vain: {what}")
        select.select([], [], [], 0.01)


def marked(mark: str) -> set[int]:
    """Pids of live processes (no zombies) whose environment carries the mark."""
    found = set()
    needle = f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environ = Path(f"/proc/{entry}/environ").read_bytes()
            state = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if needle in environ.split(b"\0") and state != "Z":
            found.add(int(entry))
    return found


def temporary(tmp: Path) -> Path:
    """Where this test's launches have their temporary files."""
    folder = tmp / "tmp"
    folder.mkdir(exist_ok=True)
    return folder


class Launcher:
    """Starts launches for one test."""

    def __init__(self, tmp: Path, python: str | Path = sys.executable) -> None:
        """`python` is the interpreter whose launcher is meant; output and working directory are in `tmp`."""
        self.tmp = tmp
        self.python = str(python)
        self.mark = uuid.uuid4().hex
        self.running: list[Running] = []
        self._numbers = count()
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("PET_", "TORCHELASTIC"))}
        self.env |= {MARK: self.mark, "TEST_SENTINEL_PARENT": "FOOBAR", "TMPDIR": str(temporary(tmp))}
        self.env.pop("OMP_NUM_THREADS", None)
        self.wrapper: list[str] = []
        """Words that run the launcher as their last argument, e.g. in another namespace."""

    def start(self, *args: object, env: dict[str, str] | None = None, **popen: object) -> Running:
        """Begin a launch with these arguments."""
        number = next(self._numbers)
        out, err = self.tmp / f"launch{number}.out", self.tmp / f"launch{number}.err"
        popen.setdefault("stdin", subprocess.DEVNULL)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            streams = {"stdout": stdout, "stderr": stderr, **popen}
            process = subprocess.Popen(
                [*self.wrapper, self.python, "-m", "launcher_core", *map(str, args)],
                env={**self.env, **(env or {})},
                cwd=self.tmp,
                **streams,  # type: ignore[call-overload]
            )
        running = Running(process, out, err)
        self.running.append(running)
        return running

    def add_to_path(self, folder: Path) -> None:
        """Have the launches import from this folder, too."""
        self.env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), self.env.get("PYTHONPATH", "")]))

    def run(self, *args: object, env: dict[str, str] | None = None, timeout: float = DEADLINE) -> Result:
        """Launch, and wait for the end."""
        return self.start(*args, env=env).wait(timeout)

    def leftovers(self) -> set[int]:
        """Live processes that this test's launches started and that are not the launchers themselves."""
        return marked(self.mark) - {one.pid for one in self.running if one.process.poll() is None}

    def assert_nothing_is_left(self, within: float = 2.0) -> None:
        """Fail unless every process of this test's launches is gone within so many seconds."""
        until(lambda: not marked(self.mark), f"processes left: {describe(marked(self.mark))}", within)

    def clean_up(self) -> set[int]:
        """End whatever is still there; the pids that had to be ended."""
        left = marked(self.mark)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for one in self.running:
            one.process.wait(10)
        return left

    def end(self) -> None:
        """Fail if anything is left behind, and end it."""
        give_up = time.monotonic() + 2.0
        while marked(self.mark) and time.monotonic() < give_up:
            select.select([], [], [], 0.01)
        left = describe(marked(self.mark))
        self.clean_up()
        assert not left, f"processes left behind: {left}"


def describe(pids: set[int]) -> str:
    """Pids with their command lines."""
    lines = []
    for pid in sorted(pids):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            words = "(gone)"
        lines.append(f"{pid} {words}")
    return "; ".join(lines)
