"""Gets the stacks of running workers, within a bound: the worker's own dump, else py-spy's, else what /proc tells.

The own dump needs the worker's offer (`launcher_core.worker.stacks`). Before it is asked it must show both the file
of that offer and a handler of the signal; and the signal is one whose default is to be ignored, so that even a
worker that has just become another program is not harmed. One that waits for a signal in its main thread is not
asked: any would end its wait. Other waits go on, as far as a handler that restarts system calls can have it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from launcher_core.rules.stacks import Stack, from_faulthandler, from_py_spy
from launcher_core.worker.stacks import FILE

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
    spies = {key: spy for key, pid in pids.items() if key not in asked and (spy := _spy(pid)) is not None}
    found: dict[int, Stack] = {}
    open_ends = dict(asked)
    while (open_ends or not all(key in found for key in spies)) and monotonic() < deadline and not stop.is_set():
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
    return {key: _explained(pid, found.get(key)) for key, pid in pids.items()}


def _explained(pid: int, stack: Stack | None) -> Stack:
    """The stack; where there is none, what the kernel says of the process."""
    if stack is not None and stack.calls:
        return stack
    why = stack.note if stack is not None else _why_none()
    return Stack(source="/proc", note=f"{kernel_view(pid)} (no Python stack: {why})")


def _why_none() -> str:
    return f"{NOT_OFFERED}, and py-spy is not on PATH" if shutil.which("py-spy") is None else "py-spy took too long"


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
    """A py-spy that looks at one worker."""

    def __init__(self, pid: int, process: subprocess.Popen[bytes], out: int) -> None:
        self.process = process
        self._pid = pid
        self._out = out

    def stack(self) -> Stack:
        """What it found, once it has ended."""
        text = os.pread(self._out, MAX_BYTES, 0)
        if self.process.returncode:
            last = text.decode("utf-8", "replace").strip().splitlines()
            return Stack(note=f"{NOT_OFFERED}, and py-spy says: {last[0] if last else self.process.returncode}")
        try:
            return from_py_spy(json.loads(text), self._pid)
        except ValueError:
            return Stack(note=f"{NOT_OFFERED}, and what py-spy prints is no JSON")

    def end(self) -> None:
        """End it, if it still runs, and see that the worker goes on: its end may come before the worker's stop."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            if _state(self._pid) in ("T", "t"):
                with suppress(OSError):
                    os.kill(self._pid, signal.SIGCONT)
        os.close(self._out)


def _spy(pid: int) -> _Spy | None:
    """Have py-spy look at a process; None where there is no py-spy, and where the process is stopped anyhow."""
    program = shutil.which("py-spy")
    if program is None or _state(pid) in ("T", "t", ""):
        return None
    from launcher_core.runtime.system import anonymous_file

    out = anonymous_file("py-spy")
    words: list[Any] = [program, "dump", "--json", "--native", "--pid", str(pid)]
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    except OSError:
        os.close(out)
        return None
    return _Spy(pid, process, out)


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
