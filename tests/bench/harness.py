"""What the figures share: the launchers that are compared, one timed run of one of them, and the arithmetic.

Every figure runs all contenders in turn, round after round, so that a machine that slows down slows all of them,
and is given as a ratio. The first round is not counted: it compiles bytecode and fills caches. Times are those of
the wall clock, because a worker stamps its first line in another process than the one that measures.
"""

from __future__ import annotations

import argparse
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from figures import OURS, Figure, Load, busy

BIN = Path(__file__).resolve().parent / "bin"
PATIENCE = 120.0
"""Seconds until a run that says nothing is given up."""
QUIET = 0.2
"""Share of the machine that others may use when a run begins."""
TRIES = 4

Measured = TypeVar("Measured")


class Worker(NamedTuple):
    """What is launched: a Python script, or a program, and its arguments."""

    words: tuple[str, ...]
    is_python: bool = True

    def for_launcher(self) -> list[str]:
        """The words that follow a launcher's own options."""
        return [*(() if self.is_python else ("--no-python",)), *self.words]

    def alone(self, python: str) -> list[str]:
        """The command line that runs it without a launcher."""
        return [*((python, "-u") if self.is_python else ()), *self.words]


class Contender(NamedTuple):
    """One way to start workers; `command` takes how many, options for a launcher, and what to run."""

    name: str
    command: Callable[[int, Sequence[str], Worker], list[str]]


class Bench(NamedTuple):
    """What was asked for on the command line."""

    python: str
    torchrun: Contender | None
    ours: Contender
    loops: tuple[Contender, ...]
    rounds: int
    settle: float
    noise: float

    @property
    def launchers(self) -> list[Contender]:
        """Those that supervise: torchrun, unless it was left out, and ours."""
        return [self.torchrun, self.ours] if self.torchrun else [self.ours]


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of the options that all figures have; `bench_of` makes a Bench of what it finds."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (7)")
    parser.add_argument("--settle", type=float, default=2.0, help="wait so long for a quiet machine, seconds (2)")
    parser.add_argument("--noise", type=float, default=0.3, help="repeat a run when others used more than this (0.3)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the workers (this one)")
    parser.add_argument("--launcher", default="launcher", help="ours (the one beside this interpreter)")
    parser.add_argument("--torchrun", default="torchrun", help='torchrun (likewise); "" leaves it out')
    return parser


def bench_of(options: Any) -> Bench:
    """The contenders that the options name, and a SIGTERM that clears away. Exits when one is not installed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    loop = str(BIN / "loop.py")
    loops = (
        Contender("Python loop", lambda n, _, worker: [options.python, loop, str(n), *worker.alone(options.python)]),
        Contender("shell loop", lambda n, _, worker: [str(BIN / "loop.sh"), str(n), *worker.alone(options.python)]),
    )
    theirs = _launcher("torchrun", options.torchrun) if options.torchrun else None
    ours = _launcher(OURS, options.launcher)
    return Bench(options.python, theirs, ours, loops, options.rounds, options.settle, options.noise)


def _launcher(name: str, program: str) -> Contender:
    found = shutil.which(program, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    if found is None:
        raise SystemExit(f"{program} is not installed here; `tox -e bench` has both, --{name} names another one")

    def command(n: int, options: Sequence[str], worker: Worker) -> list[str]:
        return [found, "--standalone", f"--nproc-per-node={n}", *options, *worker.for_launcher()]

    return Contender(name, command)


class Stamp(NamedTuple):
    """A worker's first line. The time is in nanoseconds since the epoch."""

    at: int
    rank: int
    pid: int


class Ended(NamedTuple):
    """How a run ended; `cpu` counts the launcher and everything it waited for, in seconds."""

    at: int
    code: int
    cpu: float


class Run:
    """One launcher from exec to exit, in a session and a directory of its own; what is left at the end is killed.

    Workers report their first line through a FIFO, $BENCH_STAMPS. `began` is the time just before the exec.
    """

    def __init__(self, argv: Sequence[str], stdout: int | None = None, settle: float = 0.0) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bench-"))
        fifo = self.directory / "stamps"
        os.mkfifo(fifo)
        self._stamps = os.open(fifo, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._partial = b""
        self.ended: Ended | None = None
        null = os.open(os.devnull, os.O_RDWR)
        errors = os.open(self.directory / "stderr", os.O_WRONLY | os.O_CREAT)
        sources = (null, null if stdout is None else stdout, errors)
        wait_for_quiet(settle)
        self.began = time.time_ns()
        self.pid = os.posix_spawn(
            argv[0],
            list(argv),
            {**environment(), "BENCH_STAMPS": str(fifo), "TMPDIR": str(self.directory)},
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(sources)],
            setsid=True,
        )
        self.fd = os.pidfd_open(self.pid)
        for fd in (null, errors):
            os.close(fd)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.ended is None:
            left = descendants(self.pid)
            _signal(self.pid, signal.SIGTERM)
            if not _readable([self.fd], 5.0):
                _signal(self.pid, signal.SIGKILL)
            for pid in left:
                _signal(pid, signal.SIGKILL)
            self.wait()
        os.close(self.fd)
        os.close(self._stamps)
        shutil.rmtree(self.directory, ignore_errors=True)

    def stamps(self, count: int) -> list[Stamp]:
        """The next `count` stamps, in the order in which they came. Raises SystemExit when they do not."""
        found: list[Stamp] = []
        deadline = time.monotonic() + PATIENCE
        while len(found) < count:
            ready = _readable([self._stamps, self.fd], deadline - time.monotonic())
            if self._stamps not in ready:
                raise SystemExit(f"{len(found)} of {count} workers reported; {self.words()}")
            found += self.stamps_now()
        return found

    def stamps_now(self) -> list[Stamp]:
        """The stamps that are there."""
        try:
            data = self._partial + os.read(self._stamps, 65536)
        except BlockingIOError:
            return []
        now = time.time_ns()
        *lines, self._partial = data.split(b"\n")
        fields = [[int(word) for word in line.split()] for line in lines]
        return [Stamp(at or now, rank, pid) for at, rank, pid in fields]  # a shell has no clock: 0

    @property
    def stamps_fd(self) -> int:
        """Readable when there are stamps."""
        return self._stamps

    def wait(self) -> Ended:
        """Wait for the launcher's exit, and reap it."""
        if not _readable([self.fd], PATIENCE):
            _signal(self.pid, signal.SIGKILL)
        at = time.time_ns()
        _, status, used = os.wait4(self.pid, 0)
        self.ended = Ended(at, os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime)
        return self.ended

    def finish(self) -> Ended:
        """Wait for the exit. Raises SystemExit when the launch did not succeed."""
        ended = self.wait()
        if ended.code != 0:
            raise SystemExit(f"the launcher ended with {ended.code}; {self.words()}")
        return ended

    def words(self) -> str:
        """What the launcher wrote to stderr."""
        return "its stderr:\n" + (self.directory / "stderr").read_text(errors="replace")[-2000:]


def rounds(
    bench: Bench,
    contenders: Iterable[Contender],
    once: Callable[[Contender], Mapping[str, float]],
    units: Mapping[str, str],
) -> list[Figure]:
    """A figure for each quantity that `once` measures, over all rounds; `units` says which, in which order."""
    figures = {name: Figure(name, unit) for name, unit in units.items()}
    contenders = list(contenders)
    for number in range(-1, bench.rounds):
        for contender in contenders:
            for name, value in undisturbed(bench, partial(once, contender)).items():
                if number >= 0:
                    figures[name].add(contender.name, value)
    return list(figures.values())


def undisturbed(bench: Bench, measure: Callable[[], Measured]) -> Measured:
    """What `measure` returns; asked again, a few times, when others used much of the machine meanwhile."""
    for _ in range(TRIES - 1):
        load = Load()
        result = measure()
        if load.of_others() <= bench.noise:
            return result
    return measure()


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is there as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


def environment() -> dict[str, str]:
    """This process's environment without what would change how Python or a launcher behaves."""
    ours = ("PYTHON", "PET_", "TORCHELASTIC_", "LAUNCHER_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "OMP_NUM_THREADS": "1"}


def descendants(pid: int) -> list[int]:
    """The processes that this one started, and those that they did."""
    found: list[int] = []
    todo = [pid]
    while todo:
        for children in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
            try:
                more = [int(word) for word in children.read_text().split()]
            except OSError:
                continue
            found += more
            todo += more
    return found


def wait_for_quiet(seconds: float) -> None:
    """Wait until others use little of the machine, at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        used, total = busy()
        time.sleep(0.1)
        now_used, now_total = busy()
        if now_used - used <= QUIET * (now_total - total):
            return


def _readable(fds: Sequence[int], seconds: float) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0.0, seconds) * 1000)]


def _signal(pid: int, signum: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signum)
