"""Whoever is killed, and whenever: nothing is left, the exit code is as promised, and no traceback is ours."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from launches import Launcher, Result, Running, marked, until

BIN = Path(__file__).parent / "bin"
STAY, PARENT, TALK, TICK = BIN / "stay.sh", BIN / "parent.py", BIN / "talk.py", BIN / "tick.sh"
STAY_PY = Path(__file__).parents[1] / "e2e" / "bin" / "stay.py"
ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3"))
BOUND = 15.0
"""Seconds in which a launch ends that waits for no grace."""
METHODS = ["exec", "spawn", "fork", "forkserver"]

pytestmark = [pytest.mark.timeout(60), pytest.mark.parametrize("round", range(ROUNDS))]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Where workers say that they are there."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def run_as(method: str, how: str, there: Path) -> list[object]:
    """The words for workers that stay, started by this method."""
    if method == "exec":
        return ["--no-python", STAY, there, how]
    return ["--run-path", f"--start-method={method}", STAY_PY, there, how]


def let_run(running: Running, seconds: float) -> None:
    """Go on in so many seconds, or when the launch has ended."""
    with suppress(subprocess.TimeoutExpired):
        running.process.wait(seconds)


def all_there(there: Path, names: list[str]) -> None:
    until(lambda: {*names} <= {path.name for path in there.iterdir()}, f"workers {names} are there")


def check(result: Result, launcher: Launcher) -> None:
    """Fail unless nothing is left, and stderr is what it may be."""
    launcher.assert_nothing_is_left()
    assert result.err.count(" FAILED: ") <= 1
    while_python_starts = "KeyboardInterrupt" in result.err and "in console" not in result.err
    assert "Traceback" not in result.err or while_python_starts, result.err


# --- the agent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_agent_leaves_nothing(
    launcher: Launcher, there: Path, chance: Random, method: str, round: int
) -> None:
    moment, how = chance.uniform(0, 0.7), chance.choice(["die", "exit", "ignore"])
    print(f"{moment=} {how=}")
    running = launcher.start("--nproc-per-node=3", *run_as(method, how, there))
    let_run(running, moment)
    running.signal(signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == -signal.SIGKILL


@pytest.mark.parametrize("method", METHODS)
def test_a_terminated_agent_stops_its_workers_and_says_so(
    launcher: Launcher, there: Path, chance: Random, method: str, round: int
) -> None:
    moment, how = chance.uniform(0, 0.7), chance.choice(["die", "exit"])
    print(f"{moment=} {how=}")
    running = launcher.start("--nproc-per-node=3", *run_as(method, how, there))
    let_run(running, moment)
    running.signal(signal.SIGTERM)
    result = running.wait(BOUND)
    check(result, launcher)
    if result.code == -signal.SIGTERM:  # there was nothing to stop
        assert ([*there.iterdir()], "SIGTERM" in result.err) == ([], False)
    else:
        assert (result.code, result.err.count("launcher: SIGTERM; passing it on")) == (143, 1)


def test_an_agent_that_is_interrupted_twice_is_gone_at_once(
    launcher: Launcher, there: Path, chance: Random, round: int
) -> None:
    first, second = chance.uniform(0, 0.6), chance.choice([0, chance.uniform(0, 0.1), chance.uniform(0.1, 0.4)])
    how = chance.choice(["die", "exit", "ignore", "ignore"])
    print(f"{first=} {second=} {how=}")
    running = launcher.start("--nproc-per-node=3", *run_as("exec", how, there))
    for wait in (first, second):
        let_run(running, wait)
        running.signal(signal.SIGINT)
    try:
        running.process.wait(2)
    except subprocess.TimeoutExpired:  # the two came as one, and the workers ignore it
        assert (second, how) == (0, "ignore")
        running.signal(signal.SIGINT)
    result = running.wait(BOUND)
    check(result, launcher)
    interrupted_while_python_starts = result.code == 1 and "KeyboardInterrupt" in result.err
    assert result.code in (130, -signal.SIGINT) or interrupted_while_python_starts


@pytest.mark.parametrize("method", METHODS)
def test_an_agent_that_is_killed_while_it_starts_16_workers_leaves_none(
    launcher: Launcher, there: Path, chance: Random, method: str, round: int
) -> None:
    enough = chance.randrange(1, 17)
    print(f"{enough=}")
    running = launcher.start("--nproc-per-node=16", *run_as(method, "ignore", there))
    give_up = time.monotonic() + BOUND
    while len(descendants(running.pid)) < enough and running.process.poll() is None and time.monotonic() < give_up:
        pass  # any pause would be longer than the start of the next worker
    running.signal(signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == -signal.SIGKILL


def descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found[1:]


FAILS = """#!/bin/sh
sleep 600 &
setsid sleep 600 &
exit 1
"""


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_while_it_restarts_leaves_nothing(
    launcher: Launcher, tmp_path: Path, chance: Random, signum: signal.Signals, round: int
) -> None:
    moment = chance.uniform(0, 0.3)
    print(f"{moment=}")
    script = tmp_path / "fails.sh"
    script.write_text(FAILS)
    script.chmod(0o755)
    running = launcher.start("--nproc-per-node=3", "--max-restarts=10000", "--no-python", script)
    until(lambda: "; restart 2 of 10000" in running.err, "the agent restarts")
    let_run(running, moment)
    running.signal(signum)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == (143 if signum == signal.SIGTERM else -signum)


def test_an_agent_that_is_killed_while_it_shows_much_output_tears_no_line(
    launcher: Launcher, chance: Random, round: int
) -> None:
    moment, length = chance.uniform(0, 0.3), chance.choice([1, 80, 5000])
    print(f"{moment=} {length=}")
    running = launcher.start("--nproc-per-node=3", "--tee=3", TALK, length)
    until(lambda: "[default" in running.out and "[default" in running.err, "output is shown")
    let_run(running, moment)
    running.signal(signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == -signal.SIGKILL
    whole = re.compile(rf"\[default[012]\]:line \d+ x{{{length}}}|launcher: (OMP_NUM_THREADS|output is in).*")
    shown = [*result.out.split("\n")[:-1], *result.err.split("\n")[:-1]]
    assert [line[:80] for line in shown if not whole.fullmatch(line)] == []


def test_an_agent_that_is_terminated_while_it_shows_much_output_shows_all_of_it(
    launcher: Launcher, tmp_path: Path, chance: Random, round: int
) -> None:
    moment, length = chance.uniform(0, 0.2), chance.choice([1, 80, 5000])
    print(f"{moment=} {length=}")
    running = launcher.start("--nproc-per-node=3", "--tee=3", f"--log-dir={tmp_path / 'logs'}", TALK, length)
    until(lambda: "[default" in running.out and "[default" in running.err, "output is shown")
    let_run(running, moment)
    running.signal(signal.SIGTERM)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == 143
    for name, shown in (("stdout.log", result.out), ("stderr.log", result.err)):
        lines = shown.split("\n")
        for file in (tmp_path / "logs").rglob(name):
            start = f"[default{file.parent.name}]:"
            written = file.read_text().splitlines()  # the kernel may cut the last, when it ends the worker
            assert [line.removeprefix(start) for line in lines if line.startswith(start)] == written


def test_an_agent_that_is_stopped_for_a_while_goes_on_as_if_nothing_had_been(
    launcher: Launcher, there: Path, chance: Random, round: int
) -> None:
    moment = chance.uniform(0, 0.5)
    # the meeting counts a node as lost after 0.2 s of silence, and this one is silent for longer
    silence = "--rdzv-conf=keep_alive_interval=0.1,keep_alive_max_attempt=2"
    running = launcher.start("--standalone", "--rdzv-backend=c10d", silence, "--no-python", TICK, there)
    let_run(running, moment)
    stop(running)
    if (there / "ticks").exists():
        more = (there / "ticks").stat().st_size + 15
        until(lambda: (there / "ticks").stat().st_size > more, "the worker goes on meanwhile")
    else:
        let_run(running, 0.4)
    (there / "enough").touch()
    running.signal(signal.SIGCONT)
    result = running.wait(BOUND)
    check(result, launcher)
    assert (result.code, result.out, result.err) == (0, "", "")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_an_agent_that_is_stopped_is_not_lost(
    launcher: Launcher, there: Path, chance: Random, signum: signal.Signals, round: int
) -> None:
    running = launcher.start("--nproc-per-node=2", *run_as(chance.choice(METHODS), "die", there))
    until(lambda: len([*there.iterdir()]) == 2, "both workers are there")
    stop(running)
    running.signal(signum)
    running.signal(signal.SIGCONT)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == (143 if signum == signal.SIGTERM else -signum)


def stop(running: Running) -> None:
    running.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def test_the_launcher_killed_by_its_name_leaves_nothing(launcher: Launcher, there: Path, round: int) -> None:
    running = launcher.start("--nproc-per-node=2", *run_as("exec", "ignore", there))
    all_there(there, ["0.0", "1.0"])
    for pid in marked(launcher.mark) | {*descendants(running.pid)}:
        if b"launcher" in cmdline(pid):  # as `pkill -9 -f launcher` does it
            os.kill(pid, signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == -signal.SIGKILL


def test_a_killed_fork_server_is_a_failure_of_its_workers_and_is_replaced(
    launcher: Launcher, there: Path, round: int
) -> None:
    words = run_as("forkserver", "die", there)
    running = launcher.start("--nproc-per-node=2", "--max-restarts=1", *words)
    for _ in range(2):
        until(lambda: len([*there.iterdir()]) == 2, "both workers are there")
        server = next(pid for pid in descendants(running.pid) if b"fork server" in cmdline(pid))  # before its forks
        for path in there.iterdir():
            path.unlink()
        os.kill(server, signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert (result.code, result.err.count(" FAILED: "), result.err.count("; restart 1 of 1")) == (1, 1, 1), result.err


def cmdline(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


# --- a worker --------------------------------------------------------------------------------------------


def test_a_killed_worker_without_restarts_left_is_one_report(
    launcher: Launcher, there: Path, chance: Random, round: int
) -> None:
    rank, moment = chance.randrange(4), chance.choice([0, chance.uniform(0, 0.2)])
    print(f"{rank=} {moment=}")
    running = launcher.start("--nproc-per-node=4", *run_as("exec", chance.choice(["die", "exit"]), there))
    kill(running, there / f"{rank}.0", moment)
    result = running.wait(BOUND)
    check(result, launcher)
    assert (result.code, result.err.count(f" FAILED: rank {rank} on ")) == (1, 1), result.err
    assert "SIGKILL" in result.err


def test_a_killed_worker_with_restarts_left_costs_one_and_no_report(
    launcher: Launcher, there: Path, chance: Random, round: int
) -> None:
    ranks, moment = chance.choices(range(4), k=2), chance.choice([0, chance.uniform(0, 0.2)])
    print(f"{ranks=} {moment=}")
    words = [*run_as("exec", chance.choice(["die", "exit"]), there), "2"]
    running = launcher.start("--nproc-per-node=4", "--max-restarts=2", *words)
    for attempt, rank in enumerate(ranks):
        kill(running, there / f"{rank}.{attempt}", moment)
    result = running.wait(BOUND)
    check(result, launcher)
    assert (result.code, result.err.count(" FAILED: ")) == (0, 0), result.err
    assert [result.err.count(f"; restart {number} of 2\n") for number in (1, 2, 3)] == [1, 1, 0]


def kill(running: Running, file: Path, moment: float) -> None:
    until(file.exists, f"the worker of {file.name} is there")
    let_run(running, moment)
    os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.mark.parametrize("how", ["terminated", "failed", "stopped"])
def test_workers_that_ignore_the_signal_have_their_grace_and_not_more(
    launcher: Launcher, there: Path, chance: Random, how: str, round: int
) -> None:
    rank, words = chance.randrange(3), run_as("exec", "ignore", there)
    running = launcher.start("--nproc-per-node=3", "--shutdown-timeout=1", *words)
    all_there(there, ["0.0", "1.0", "2.0"])
    if how == "failed":
        kill(running, there / f"{rank}.0", 0)
    else:
        if how == "stopped":
            pid = int((there / f"{rank}.0").read_text())
            os.kill(pid, signal.SIGSTOP)
            until(lambda: ") T " in Path(f"/proc/{pid}/stat").read_text(), "the worker is stopped")
        running.signal(signal.SIGTERM)
    began = time.monotonic()
    result = running.wait(BOUND)
    took = time.monotonic() - began
    check(result, launcher)
    assert result.code == (1 if how == "failed" else 143)
    assert "the grace is over (--shutdown-timeout)" in result.err
    assert 1.0 <= took + 0.05 < 5.0


@pytest.mark.parametrize("end", ["terminated", "killed", "worker killed", "worker failed"])
def test_a_group_that_ends_takes_what_its_workers_started_with_it(
    launcher: Launcher, there: Path, chance: Random, end: str, round: int
) -> None:
    kind = chance.choice(["plain", "deaf", "orphan", "session"])
    restarts, grace = chance.choice([0, 1]), "--shutdown-timeout=1"
    print(f"{kind=} {restarts=}")
    how = "fail" if end == "worker failed" else "stay"
    running = launcher.start("--nproc-per-node=2", f"--max-restarts={restarts}", grace, PARENT, there, kind, how)
    if end == "worker killed":
        for _ in range(restarts + 1):
            until((there / "1").exists, "the worker is there")
            pid = int((there / "1").read_text())
            (there / "1").unlink()
            os.kill(pid, signal.SIGKILL)
    elif end != "worker failed":
        all_there(there, ["0", "1"])
        running.signal(signal.SIGTERM if end == "terminated" else signal.SIGKILL)
    result = running.wait(BOUND)
    check(result, launcher)
    assert result.code == {"terminated": 143, "killed": -9}.get(end, 1)


def test_a_group_that_succeeds_takes_with_it_what_is_left_in_its_workers_groups(
    launcher: Launcher, there: Path, chance: Random, round: int
) -> None:
    kind = chance.choice(["plain", "deaf", "orphan"])
    print(f"{kind=}")
    result = launcher.run("--nproc-per-node=2", PARENT, there, kind, "succeed")
    check(result, launcher)
    assert result.code == 0


def test_what_a_worker_that_succeeded_put_into_a_session_of_its_own_stays(
    launcher: Launcher, there: Path, round: int
) -> None:
    result = launcher.run("--nproc-per-node=2", PARENT, there, "session", "succeed")
    left = marked(launcher.mark)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert (result.code, len(left)) == (0, 2)
