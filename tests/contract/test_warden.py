"""What the warden promises: no group outlives an agent that was killed, and none dies but those it guards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from launcher_core.runtime import system
from launcher_core.runtime.warden import Warden

sys.path.append(str(Path(__file__).parent))
from starting import NOTHING, census

pytestmark = pytest.mark.timeout(60)
DEADLINE = 20.0
SHELLS = [shell for shell in ("/bin/sh", "/bin/bash") if os.path.exists(shell)]
EVERY = pytest.mark.parametrize("shell", [*SHELLS, "/no/such/shell"])
FAMILY = "sleep 600 & echo $!; (setsid sh -c 'echo $$; exec sleep 600' &); exec sleep 600"


class Group:
    """A worker with a child in its group, and another that has a session of its own and no parent any more."""

    def __init__(self, mark: Mapping[str, str] | None = None) -> None:
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        self.leader = system.spawn(
            "/bin/sh", ["sh", "-c", FAMILY], {**os.environ, **(mark or {})}, (null, writing, null)
        )
        os.close(writing)
        os.close(null)
        with open(reading) as file:
            self.member, self.stray = (int(file.readline()) for _ in range(2))
        self.pids = [self.leader, self.member, self.stray]
        self.watches = [system.pid_fd(pid) for pid in self.pids]

    def ended(self) -> list[bool]:
        """Whether leader, member and stray ended: the first two are waited for, the third for a moment."""
        waits = (DEADLINE, DEADLINE, 1.0)
        return [system.wait_readable(fd, seconds) for fd, seconds in zip(self.watches, waits, strict=True)]

    def runs(self) -> bool:
        return not any(system.wait_readable(fd, 0) for fd in self.watches)

    def end(self) -> None:
        for fd in self.watches:
            os.close(fd)
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.leader, 0)


@pytest.fixture
def group() -> Iterator[Group]:
    made = Group()
    yield made
    made.end()


@pytest.fixture
def other() -> Iterator[Group]:
    made = Group()
    yield made
    made.end()


@pytest.fixture
def warden(shell: str) -> Iterator[Warden]:
    """A started warden; the test fails that leaves a descriptor, a thread or a child behind."""
    before = census()
    made = Warden(shell)
    made.start()
    yield made
    made.close()
    assert census().without(before) == NOTHING


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def pid_of(warden: Warden) -> int:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        children = [int(pid) for pid in file.read().split()]
    found = [pid for pid in children if Path(f"/proc/{pid}/fd/0").readlink().name.startswith("socket:")]
    assert len(found) == 1
    return found[0]


def ignores_signals(pid: int) -> bool:
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.split(":", 1) for line in file)
    wanted = sum(1 << number - 1 for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT))
    return int(fields["SigIgn"], 16) & wanted == wanted


AGENT = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[2])
from test_warden import Group
from launcher_core.runtime.warden import Warden
warden = Warden(sys.argv[1])
warden.start()
groups = [Group(mark) for mark in (warden.mark, {}, warden.mark)]
for group in groups:
    warden.guard(group.leader)
warden.release(groups[1].leader)
print(json.dumps([group.pids for group in groups]), flush=True)
sys.stdin.read()
"""


def agent(shell: str) -> subprocess.Popen[str]:
    path = json.dumps([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen([sys.executable, "-c", AGENT, shell, path], text=True, stdin=-1, stdout=-1)


@EVERY
def test_a_killed_agent_takes_its_guarded_groups_with_it_and_no_other(shell: str) -> None:
    process = agent(shell)
    assert process.stdout is not None
    first, released, last = json.loads(process.stdout.readline() or "[[], [], []]")
    watches: list[int] = []
    try:
        expected = [*first, *last]
        watches = [system.pid_fd(pid) for pid in (*expected, *released)]
        process.kill()
        ended = [system.wait_readable(fd, DEADLINE) for fd in watches[: len(expected)]]
        assert ended == [True] * len(expected)
        assert not any(system.wait_readable(fd, 0) for fd in watches[len(expected) :])
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)
        for fd in watches:
            os.close(fd)
        for pid in (*first, *released, *last):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@EVERY
def test_closing_leaves_a_released_group_alone(warden: Warden, group: Group) -> None:
    warden.guard(group.leader)
    warden.release(group.leader)
    warden.close()
    assert group.runs()


@EVERY
def test_closing_ends_a_group_that_is_still_guarded(warden: Warden, group: Group, other: Group) -> None:
    warden.guard(group.leader)
    warden.close()
    assert group.ended() == [True, True, False]
    assert other.runs()


@EVERY
def test_a_clean_end_spares_even_what_carries_the_mark(warden: Warden) -> None:
    marked = Group(warden.mark)
    try:
        warden.guard(marked.leader)
        warden.release(marked.leader)
        warden.close()
        assert marked.runs()
    finally:
        marked.end()


@EVERY
def test_closing_twice_is_closing_once(warden: Warden) -> None:
    warden.close()
    warden.close()
    warden.guard(2**22 + 1)


@EVERY
def test_numbers_that_begin_or_end_alike_are_told_apart(warden: Warden, group: Group) -> None:
    warden.guard(group.leader)
    for lookalike in (f"1{group.leader}", f"{group.leader}1", str(group.leader)[:-1] or "9", "424242"):
        warden.release(int(lookalike))
    warden.close()
    assert group.ended()[:2] == [True, True]


@EVERY
def test_a_warden_does_not_hear_the_signals_that_end_the_agent(warden: Warden, group: Group) -> None:
    pid = pid_of(warden)
    until(lambda: ignores_signals(pid))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        os.kill(pid, number)
    warden.guard(group.leader)
    warden.close()
    assert group.ended()[:2] == [True, True]


@EVERY
def test_a_warden_that_was_killed_is_replaced_by_one_that_knows_the_same(
    warden: Warden, group: Group, other: Group
) -> None:
    warden.guard(group.leader)
    pid = pid_of(warden)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    warden.guard(other.leader)
    assert pid_of(warden) != pid
    warden.close()
    assert group.ended()[:2] == other.ended()[:2] == [True, True]


@EVERY
def test_a_stopped_warden_holds_nobody_up_and_misses_nothing(warden: Warden, group: Group) -> None:
    pid = pid_of(warden)
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED)
    began = time.monotonic()
    for number in range(2**22, 2**22 + 5000):
        warden.guard(number)
        warden.release(number)
    warden.guard(group.leader)
    assert time.monotonic() - began < 5.0
    os.kill(pid, signal.SIGCONT)
    warden.close()
    assert group.ended()[:2] == [True, True]


@pytest.mark.parametrize("shell", ["/bin/sh"])
def test_a_warden_holds_nothing_of_the_agents(warden: Warden) -> None:
    pid = pid_of(warden)
    until(lambda: os.readlink(f"/proc/{pid}/cwd") == "/")  # it has begun, and waits
    names = {fd: os.readlink(f"/proc/{pid}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    assert names == {"0": "socket", "1": "/dev/null", "2": "/dev/null"}
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)


UNANNOUNCED = """
import json, os, sys
sys.path[:0] = json.loads(sys.argv[2])
from launcher_core.runtime import system
from launcher_core.runtime.warden import Warden
warden = Warden(sys.argv[1])
warden.start()
streams = (0, os.open(os.devnull, os.O_RDWR), 2)
print("ready", *warden.mark.values(), flush=True)
while True:
    system.spawn("/bin/sleep", ["sleep", "600"], warden.mark, streams)
"""


def carriers(mark: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_text(errors="replace"):
                found.append(int(path.parent.name))
    return found


@EVERY
def test_a_worker_that_was_being_started_when_the_agent_was_killed_is_found_by_its_mark(shell: str) -> None:
    path = json.dumps([str(Path(__file__).parent), *sys.path])
    command = [sys.executable, "-c", UNANNOUNCED, shell, path]
    for _ in range(5):
        process = subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        mark = process.stdout.readline().split()[1]
        until(lambda mark=mark: bool(carriers(mark)))  # type: ignore[misc]
        process.kill()
        process.communicate(timeout=DEADLINE)
        try:
            until(lambda mark=mark: not carriers(mark))  # type: ignore[misc]
        finally:
            for pid in carriers(mark):
                os.kill(pid, signal.SIGKILL)
