"""Gets the stacks of running workers, within a bound: the worker's own dump, else py-spy's, else what /proc tells.

The own dump needs the worker's offer (`launcher_core.worker.stacks`). Before it is asked it must show both the file
of that offer and a handler of the signal; and the signal is one whose default is to be ignored, so that even a
worker that has just become another program is not harmed. One that waits for a signal in its main thread is not
asked: any would end its wait. Other waits go on, as far as a handler that restarts system calls can have it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from launcher_core.rules.stacks import NO_STACK, Stack, from_faulthandler, from_py_spy
from launcher_core.worker.stacks import FILE

if TYPE_CHECKING:
    import subprocess

SIGNUM = signal.SIGURG
LOOK_SECONDS = 0.01
RESERVE_SECONDS = 0.2
"""Of the time that is given, what is kept for /proc."""
MAX_BYTES = 4 << 20
WAITS_FOR_SIGNALS = {"x86_64": ("34", "128", "130"), "aarch64": ("133", "137")}
"""By machine, the numbers of pause, rt_sigtimedwait and rt_sigsuspend."""
NOT_OFFERED = "the worker makes no offer to show its stacks, or waits for a signal"


def collect(pids: Mapping[int, int], seconds: float, stop: threading.Event | None = None) -> dict[int, Stack]:
    """The stack of each of these processes, by the key that it has in `pids`. Takes `seconds` at most.

    All are asked at once. `stop` makes it give up early. Never raises for what a process does or is.
    """
    stop = stop or threading.Event()
    deadline = monotonic() + max(0.0, seconds - RESERVE_SECONDS)
    asked = {key: offer for key, pid in pids.items() if (offer := _ask(pid)) is not None}
    program = spy_program() if len(asked) < len(pids) else None
    others = {key: pid for key, pid in pids.items() if key not in asked} if program else {}
    spies = {key: spy for key, pid in others.items() if (spy := _spy(program, pid)) is not None}
    hurry = (monotonic() + deadline) / 2
    found: dict[int, Stack] = {}
    open_ends = dict(asked)
    while (open_ends or not all(key in found for key in spies)) and monotonic() < deadline and not stop.is_set():
        if monotonic() >= hurry:
            hurry = deadline
            for key in spies.keys() - found.keys():
                spies[key].look_again()
        for key, offer in tuple(open_ends.items()):
            if offer.is_complete():
                found[key] = offer.stack()
                del open_ends[key]
        for key, spy in spies.items():
            if key not in found and spy.process.poll() is not None:
                found[key] = spy.stack()
        stop.wait(LOOK_SECONDS)
    for key, offer in open_ends.items():
        found[key] = offer.stack()
    for spy in spies.values():
        spy.end()
    for offer in asked.values():
        offer.close()
    no_spy = "py-spy took too long" if program else f"{NOT_OFFERED}, and py-spy is not installed (extra: stacks)"
    return {key: _explained(pid, found.get(key), no_spy) for key, pid in pids.items()}


def _explained(pid: int, stack: Stack | None, why: str) -> Stack:
    """The stack; where there is none, what the kernel says of the process."""
    if stack is not None and stack.calls:
        return stack
    why = stack.note if stack is not None else why
    return Stack(source="/proc", note=f"{kernel_view(pid)}{NO_STACK}{why})")


# --- the worker's own dump -------------------------------------------------------------------------------


class _Offer:
    """A dump that a worker was asked for."""

    def __init__(self, pid: int, file: int, blocked: int) -> None:
        self._pid = pid
        self._file = file
        self._blocked = blocked

    def is_complete(self) -> bool:
        """Whether something was written, and no thread is in the signal's handler, where the signal is blocked."""
        if not os.fstat(self._file).st_size:
            return False
        pending, blocked = _signals(self._pid)
        return not pending and blocked <= self._blocked

    def stack(self) -> Stack:
        """What was written by now."""
        text = os.pread(self._file, MAX_BYTES, 0).decode("utf-8", "replace")
        return from_faulthandler(text) if text else Stack(note="it was asked for its stacks, and does not answer")

    def close(self) -> None:
        """Empty the file, and let go of it."""
        with suppress(OSError):
            os.ftruncate(self._file, 0)
        os.close(self._file)


def _ask(pid: int) -> _Offer | None:
    """Ask a process for its stacks; None where it has made no offer."""
    try:
        number = next((fd for fd in os.listdir(f"/proc/{pid}/fd") if _is_offer(f"/proc/{pid}/fd/{fd}")), None)
        if number is None or not _catches(pid) or _waits_for_a_signal(pid):
            return None
        file = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        _, blocked = _signals(pid)
        os.ftruncate(file, 0)
        os.kill(pid, SIGNUM)
    except OSError:
        os.close(file)
        return None
    return _Offer(pid, file, blocked)


def _is_offer(link: str) -> bool:
    with suppress(OSError):
        return os.readlink(link).startswith(f"/memfd:{FILE} ")
    return False


def _status(path: str) -> dict[str, str]:
    """The lines of a status file of /proc, by name."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def _catches(pid: int) -> bool:
    """Whether the process has a handler of the signal. Raises OSError."""
    return bool(int(_status(f"/proc/{pid}/status").get("SigCgt", "0"), 16) >> (SIGNUM - 1) & 1)


def _waits_for_a_signal(pid: int) -> bool:
    """Whether the main thread is in a system call that any signal ends."""
    return _line(f"/proc/{pid}/syscall").partition(" ")[0] in WAITS_FOR_SIGNALS.get(os.uname().machine, ())


def _signals(pid: int) -> tuple[bool, int]:
    """Whether the signal is pending for the process, and how many of its threads block it."""
    bit = 1 << (SIGNUM - 1)
    pending, blocked = False, 0
    with suppress(OSError, ValueError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                status = _status(f"/proc/{pid}/task/{task}/status")
                pending = pending or bool(int(status["ShdPnd"], 16) & bit)
                blocked += bool(int(status["SigBlk"], 16) & bit)
    return pending, blocked


# --- py-spy ----------------------------------------------------------------------------------------------


class _Spy:
    """A py-spy that looks at one worker: at its native code, too, where there is the time."""

    def __init__(self, program: str, pid: int) -> None:
        """Raises OSError."""
        from launcher_core.runtime.system import anonymous_file

        self._program = program
        self._pid = pid
        self._out = anonymous_file("py-spy")
        try:
            self.process = self._start("--native")
        except OSError:
            os.close(self._out)
            raise

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        import subprocess

        words: list[Any] = [self._program, "dump", "--json", *options, "--pid", str(self._pid)]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._out)

    def look_again(self) -> None:
        """Look at the Python code only: the tables of large libraries take seconds to read."""
        self._break_off()
        os.ftruncate(self._out, 0)
        os.lseek(self._out, 0, os.SEEK_SET)
        with suppress(OSError):
            self.process = self._start()

    def stack(self) -> Stack:
        """What it found, once it has ended."""
        import json

        text = os.pread(self._out, MAX_BYTES, 0)
        if self.process.returncode:
            last = text.decode("utf-8", "replace").strip().splitlines()
            return Stack(note=f"{NOT_OFFERED}, and py-spy says: {last[0] if last else self.process.returncode}")
        try:
            return from_py_spy(json.loads(text), self._pid)
        except ValueError:
            return Stack(note=f"{NOT_OFFERED}, and what py-spy prints is no JSON")

    def end(self) -> None:
        """End it, if it still runs."""
        self._break_off()
        os.close(self._out)

    def _break_off(self) -> None:
        """End the process, and see that the worker goes on: its end may come before the worker's stop."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            if _state(self._pid) in ("T", "t"):
                with suppress(OSError):
                    os.kill(self._pid, signal.SIGCONT)


def spy_program() -> str | None:
    """py-spy's path: on PATH, else beside this interpreter, which a virtual environment need not have on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "py-spy")
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return next((path for path in (*(os.path.join(one, "py-spy") for one in folders), beside) if _runs(path)), None)


def _runs(path: str) -> bool:
    return os.access(path, os.X_OK) and os.path.isfile(path)


def _spy(program: str | None, pid: int) -> _Spy | None:
    """Have py-spy look at a process; None where it cannot be started, and where the process is stopped anyhow."""
    if program is None or _state(pid) in ("T", "t", ""):
        return None
    try:
        return _Spy(program, pid)
    except OSError:
        return None


# --- /proc -----------------------------------------------------------------------------------------------


def kernel_view(pid: int) -> str:
    """In a few words, what the kernel says that the process does: "sleeping in hrtimer_nanosleep, system call 230"."""
    from launcher_core.runtime.worker_facts import STATES

    state = _state(pid)
    if not state:
        return "it has ended"
    channel = _line(f"/proc/{pid}/wchan").strip("0")
    call = _line(f"/proc/{pid}/syscall").partition(" ")[0]
    where = f" in {channel}" if channel else ""
    number = f", system call {call}" if call.isdecimal() else ""
    return f"{STATES.get(state, state)}{where}{number}"


def _state(pid: int) -> str:
    return _line(f"/proc/{pid}/stat").rpartition(")")[2].strip()[:1]


def _line(path: str) -> str:
    """The first line of the file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.readline().strip()
    except OSError:
        return ""
