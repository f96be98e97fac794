"""What a look at real processes tells of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from launches import until

from launcher_core.rules.hang import Mode, Sample, advance
from launcher_plugins.watches.calls import wait_of
from launcher_plugins.watches.probe import look

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, which are ended with the test, and what they started with them."""
    begun = []

    def start(*words: object, **popen: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen([*map(str, words)], start_new_session=True, **popen))
        return begun[-1]

    yield start
    for process in begun:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def seen(process: subprocess.Popen[bytes]) -> Sample:
    return look({0: process.pid}, {})[0]


def waits(process: subprocess.Popen[bytes], wait: str) -> Sample:
    """A look at the process once it waits so."""
    until(lambda: seen(process).wait == wait, f"it waits: {wait}")
    return seen(process)


def test_a_program_behind_shells_is_the_one_that_is_looked_at(start: Start) -> None:
    process = start("sh", "-c", "sh -c 'sleep 100; true'; true")
    sample = waits(process, "sleep")
    assert b"sleep" in Path(f"/proc/{sample.pid}/cmdline").read_bytes()
    assert (len(sample.processes), sample.state, sample.held) == (3, "S", False)


def test_one_that_waits_is_still_and_one_that_loops_spins(start: Start) -> None:
    sleeps, loops = start("sleep", "100"), start(sys.executable, "-c", "while True: pass")
    waits(sleeps, "sleep")
    until(lambda: seen(loops).cpu > 0.2, "it computes")
    tracks = {0: advance(None, seen(sleeps)), 1: advance(None, seen(loops))}
    began = seen(loops).cpu
    until(lambda: seen(loops).cpu > began + 0.2, "it computes on")
    assert advance(tracks[0], seen(sleeps)).mode is Mode.STILL
    assert advance(tracks[1], seen(loops)).mode is Mode.SPINNING


def test_a_stopped_process_shows_it_and_one_that_is_gone_too(start: Start) -> None:
    process = start("sleep", "100")
    process.send_signal(signal.SIGSTOP)
    until(lambda: seen(process).state == "T", "it is stopped")
    process.kill()
    process.wait()
    assert seen(process).state == ""


def test_who_reads_a_line_from_a_terminal_waits_for_a_person(start: Start) -> None:
    ours, theirs = os.openpty()
    try:
        process = start("cat", stdin=theirs)
        until(lambda: seen(process).held, "it reads")
        edits = f"{ {'x86_64': 270, 'aarch64': 72}[os.uname().machine] } 0x1 0x7ff0 0x0 0x0 0x0 0x0 0x7ffe 0x7f3b"
        assert wait_of(process.pid, edits) == ("poll", True)
        assert wait_of(process.pid, edits.replace(" 0x1 ", " 0x5 ")) == ("poll", False)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_descriptor_says_what_its_reader_waits_for(tmp_path: Path) -> None:
    here, there = socket.socketpair()
    pipe = os.pipe()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    number = {"x86_64": 0, "aarch64": 63}[os.uname().machine]
    try:
        found = [wait_of(os.getpid(), f"{number} {fd:#x} 0x0") for fd in (here.fileno(), pipe[0], file, 9999)]
        assert found == [("socket", False), ("pipe", False), ("file", False), ("file", False)]
    finally:
        here.close()
        there.close()
        for fd in (*pipe, file):
            os.close(fd)


@pytest.mark.parametrize("line", ["running", "", "-1 0x7ffe 0x7f3b", "99999 0x0"])
def test_what_is_no_known_call_is_no_wait(line: str) -> None:
    assert wait_of(os.getpid(), line) == ("", False)
