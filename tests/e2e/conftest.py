"""Launches are real processes of the installed launcher; whatever they started must be gone at the end of a test."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher_core.run import main

BIN = Path(__file__).parent / "bin"
MARK = "LAUNCHER_TEST_MARK"
DEADLINE = 60.0


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

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.mark = uuid.uuid4().hex
        self.running: list[Running] = []
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("PET_", "TORCHELASTIC"))}
        self.env |= {MARK: self.mark, "TEST_SENTINEL_PARENT": "FOOBAR", "TMPDIR": str(temporary(tmp))}
        self.env.pop("OMP_NUM_THREADS", None)
        self.wrapper: list[str] = []
        """Words that run the launcher as their last argument, e.g. in another namespace."""

    def start(self, *args: object, env: dict[str, str] | None = None, **popen: object) -> Running:
        """Begin a launch with these arguments."""
        number = len(self.running)
        out, err = self.tmp / f"launch{number}.out", self.tmp / f"launch{number}.err"
        popen.setdefault("stdin", subprocess.DEVNULL)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            streams = {"stdout": stdout, "stderr": stderr, **popen}
            process = subprocess.Popen(
                [*self.wrapper, sys.executable, "-m", "launcher_core", *map(str, args)],
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
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for one in self.running:
            one.process.wait(10)
        return left


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


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Launches of this test. Nothing they started may outlive it."""
    tools = Launcher(tmp_path)
    yield tools
    give_up = time.monotonic() + 2.0
    while marked(tools.mark) and time.monotonic() < give_up:
        select.select([], [], [], 0.01)
    left = describe(marked(tools.mark))
    tools.clean_up()
    assert not left, f"processes left behind: {left}"


class Surroundings(NamedTuple):
    """What a launch from inside a process must leave as it was."""

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
    """This process as it is; to be called in its main thread, with its main thread idle."""
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


class InProcess:
    """Launches from inside the test's process, which is checked to be as before after each."""

    def main(self, *args: object) -> None:
        """What `main` does with these arguments."""
        self.call(lambda: main([str(arg) for arg in args]))

    def call(self, launch: Callable[[], Any]) -> Any:
        """What `launch` returns or raises."""
        before = surroundings()
        try:
            return launch()
        finally:
            assert surroundings() == before


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InProcess]:
    """Launches by `main`, or by `elastic_launch`, in this process. Nothing they started may outlive them."""
    for name in [name for name in os.environ if name.startswith(("PET_", "TORCHELASTIC", "OMP_"))]:
        monkeypatch.delenv(name)
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("TEST_SENTINEL_PARENT", "FOOBAR")
    monkeypatch.setenv("TMPDIR", str(temporary(tmp_path)))
    monkeypatch.chdir(tmp_path)
    yield InProcess()
    until(lambda: not marked(mark), f"processes left behind: {describe(marked(mark))}", 2.0)


@pytest.fixture
def distribution(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., None]]:
    """Makes distributions: `make(name, entry_points, module=source, ...)`, for this test's launches of both kinds."""
    modules: list[str] = []

    def make(name: str, entry_points: str, **sources: str) -> None:
        site = tmp_path / f"site-{name}"
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in sources.items():
            (site / f"{module}.py").write_text(source)
            modules.append(module)
        monkeypatch.syspath_prepend(site)
        launcher.add_to_path(site)

    yield make
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., object]:
    """`until`, for tests."""
    return until


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on: the kernel chose it a moment ago, and hands it to nobody else soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
