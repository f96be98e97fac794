"""The policy `torch-timers`: serves the timers of torch elastic (`torch.distributed.elastic.timer`) to the workers.

On with TORCHELASTIC_ENABLE_FILE_TIMER=1, as in torch elastic, whose wire this is: a FIFO, named to the workers by
TORCHELASTIC_TIMER_FILE. Unlike there, a timer that runs out ends the worker that set it, not the launcher.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import time
from typing import Any

from launcher_core.hooks.ports import Scene
from launcher_core.hooks.specs import hookimpl
from launcher_core.rules.timers import LONGEST_LINE, Timer, Timers, due, parse, seconds_left, take
from launcher_plugins.watches.probe import processes

VARIABLE = "TORCHELASTIC_TIMER_FILE"
MOST_COMPLAINTS = 3
LONGEST_WAIT = 60.0
"""Seconds between two looks at the clock: somebody may set it."""
END_SECONDS = 2.0


class TorchTimers:
    """The policy: one FIFO for all starts of a launch; each start has a reader of its own."""

    def __init__(self) -> None:
        self._path = os.environ.get(VARIABLE, "")
        self._watch = TimerWatch(self)

    @property
    def path(self) -> str:
        """Where the FIFO is."""
        if not self._path:
            import tempfile

            self._path = os.path.join(tempfile.gettempdir(), f"watchdog_timer_{os.urandom(16).hex()}")
        return self._path

    @hookimpl
    def launcher_worker_env(self) -> Mapping[str, str]:
        """Where the workers find the FIFO."""
        return {VARIABLE: self.path}

    @hookimpl
    def launcher_make_watch(self) -> TimerWatch:
        """What reads it."""
        return self._watch


class TimerWatch:
    """Reads the requests of one start after the other."""

    def __init__(self, policy: TorchTimers) -> None:
        self._policy = policy
        self._scene: Scene | None = None
        self._reader: _Reader | None = None

    def attach(self, scene: Scene) -> None:
        """Take in whose workers they are."""
        self._scene = scene

    def start(self, pids: Mapping[int, int], alarm: Callable[[str], None]) -> None:
        """Make the FIFO, and read. Raises OSError or ValueError when it cannot be made."""
        if self._scene is not None:
            self._reader = _Reader(_make(self._policy.path), dict(pids), self._scene)
            self._reader.start()

    def stop(self) -> None:
        """Read no more, and take the FIFO away."""
        if self._reader is not None:
            self._reader.end()
            self._reader = None
            with suppress(OSError):
                os.unlink(self._policy.path)


def _make(path: str) -> int:
    """A descriptor of a new FIFO; one that was there is replaced."""
    with suppress(FileNotFoundError):
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise ValueError(f"{VARIABLE}={path}: there is something else already; name another path")
        os.unlink(path)
    os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # to write, too: so there is always a writer


class _Reader:
    """A thread that sleeps until there is a request, or a timer has run out."""

    def __init__(self, fifo: int, pids: Mapping[int, int], scene: Scene) -> None:
        self._fifo = fifo
        self._pids = pids
        self._scene = scene
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._timers: Timers = {}
        self._rest = b""
        self._complaints = 0
        self._thread = threading.Thread(target=self._run, name="launcher-timers", daemon=True)

    def start(self) -> None:
        """Begin. Raises OSError when no thread can be had."""
        try:
            self._thread.start()
        except RuntimeError as error:
            self._close()
            raise OSError(f"no thread for the workers' timers: {error}") from error

    def end(self) -> None:
        """Have the thread end, and close everything."""
        os.write(self._wake[1], b"\0")
        self._thread.join(END_SECONDS)
        self._close()

    def _close(self) -> None:
        for fd in (self._fifo, *self._wake):
            os.close(fd)

    def _run(self) -> None:
        waiting: Any = select.poll()
        waiting.register(self._fifo, select.POLLIN)
        waiting.register(self._wake[0], select.POLLIN)
        while True:
            left = seconds_left(self._timers, time())
            ready = waiting.poll(None if left is None else min(left, LONGEST_WAIT) * 1000 + 1)
            if any(fd == self._wake[0] for fd, _ in ready):
                return
            self._read()
            over, self._timers = due(self._timers, time())
            for timer in over:
                self._ran_out(timer)

    def _read(self) -> None:
        """Take the requests that are there. A line that is none is lost, and no other."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._fifo, 65536):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(self._rest) > LONGEST_LINE:
                    self._rest = b""
                    self._complain("a line that does not end")

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            self._timers = take(self._timers, parse(line))
        except (ValueError, RecursionError) as error:
            self._complain(f"{line[:80]!r}: {error}")

    def _complain(self, what: str) -> None:
        self._complaints += 1
        if self._complaints <= MOST_COMPLAINTS:
            last = "; no more is said of such lines" if self._complaints == MOST_COMPLAINTS else ""
            self._scene.notice(f"a timer's request in {VARIABLE} makes no sense, and is left out: {what}{last}")

    def _ran_out(self, timer: Timer) -> None:
        """Send the signal that was asked for, if the process is one of this group's."""
        local = self._whose(timer.pid)
        if local is None:
            return
        late = f"the timer {timer.scope!r} of rank {self._scene.ranks[local]} (pid {timer.pid}) ran out"
        if not timer.signum:
            self._scene.notice(f"{late}; it asked for no signal")
            return
        name = _name(timer.signum)
        self._scene.explain(local, f"{late}; the launcher sent it {name}, as the timer asked for")
        self._scene.report(f"{late}; sending it {name}", [local])
        with suppress(ProcessLookupError, PermissionError):
            os.kill(timer.pid, timer.signum)

    def _whose(self, pid: int) -> int | None:
        """The local rank of the worker that is this process, or has started it; None for a stranger."""
        everybody = processes()
        worker = {pid: local for local, pid in self._pids.items()}
        for _ in range(len(everybody)):
            if pid in worker:
                return worker[pid]
            if pid not in everybody:
                break
            if everybody[pid].session in worker:
                return worker[everybody[pid].session]
            pid = everybody[pid].parent
        return None


def _name(signum: int) -> str:
    try:
        return signal.Signals(signum).name
    except ValueError:
        return f"signal {signum}"
