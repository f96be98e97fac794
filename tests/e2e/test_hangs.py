"""Workers that hang: what is said of it, to whom, and what becomes of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher, Running, until

WAIT = Path(__file__).parent / "bin" / "wait_together.py"


pytestmark = pytest.mark.usefixtures("ended")


def status(running: Running) -> dict[str, Any]:
    """What the launch says of itself."""
    words = [sys.executable, "-m", "launcher_core", "--status=json"]
    found = json.loads(subprocess.run(words, capture_output=True, timeout=60).stdout)["launchers"]
    return next(one for one in found if one["pid"] == running.pid)


def pids(running: Running, count: int) -> list[int]:
    """The workers, once all wait."""
    until(lambda: running.out.count("waits\n") == count, "the workers wait")
    return [one["pid"] for one in status(running)["workers"]]


def test_a_stopped_worker_is_named_once_and_then_said_to_go_on(launcher: Launcher, tmp_path: Path) -> None:
    events = tmp_path / "events"
    running = launcher.start("--nproc-per-node=3", "--hang-timeout=2", f"--event-log-handler=jsonl={events}", WAIT)
    workers = pids(running, 3)
    os.kill(workers[1], signal.SIGSTOP)
    until(lambda: "launcher: hang: " in running.err, "the hang is told")
    (said,) = re.findall(r"launcher: hang: (.*)", running.err)
    assert re.sub(r"\d+ s", "N s", said) == (
        f"rank 1 (pid {workers[1]}) has been stopped (state T) for N s; ranks 0, 2 wait at a socket"
    )
    assert status(running)["hang"] == {"reason": f"hang: {said}", "local_ranks": [1]}
    os.kill(workers[1], signal.SIGCONT)
    for pid in workers:
        os.kill(pid, signal.SIGUSR1)  # has it write a line every now and then
    until(lambda: "the workers make progress again" in running.err, "that they go on is told")
    assert (running.err.count("hang: "), status(running)["hang"]) == (1, None)
    told = [json.loads(line) for line in events.read_text().splitlines()]
    own = [one for one in told if one["metadata"]["state"] in ("STALLED", "RESUMED")]
    assert [one["metadata"]["state"] for one in own] == ["STALLED", "RESUMED"]
    assert json.loads(own[0]["metadata"]["metadata"])["local_ranks"] == [1]


def test_a_hang_may_cost_a_restart(launcher: Launcher) -> None:
    options = ["--hang-timeout=1", "--hang-action=restart", "--max-restarts=1"]
    result = launcher.run("--nproc-per-node=2", *options, WAIT)
    assert (result.code, result.out.count("waits\n")) == (1, 4)
    assert result.err.count("hang: no worker of this node has made progress for") >= 2
    assert "restart 1 of 1" in result.err


def test_a_hang_may_end_the_job_whatever_restarts_are_left(launcher: Launcher, tmp_path: Path) -> None:
    options = ["--hang-timeout=2", "--hang-action=stop", "--max-restarts=5", "--report=report.json", "--log-dir=logs"]
    running = launcher.start("--nproc-per-node=2", "--shutdown-timeout=0.5", "--redirects=1", *options, WAIT)
    until(
        lambda: len([one for one in (tmp_path / "logs").rglob("stdout.log") if one.read_text()]) == 2,
        "the workers wait",
    )
    worker = status(running)["workers"][1]["pid"]
    os.kill(worker, signal.SIGSTOP)
    result = running.wait()
    cause = json.loads((tmp_path / "report.json").read_text())["cause"]
    assert (result.code, cause["class"], cause["rank"], cause["pid"]) == (1, "hang", 1, worker)
    assert f"hang: rank 1 (pid {worker}) has been stopped (state T) for" in cause["text"]
    (stacks,) = (tmp_path / "logs").rglob("stacks.txt")
    assert "\nrank 0: in main, wait_together.py" in stacks.read_text()


def test_the_stacks_are_put_beside_the_logs(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--nproc-per-node=2", "--hang-timeout=1", "--log-dir=logs", "--tee=3", WAIT)
    until(lambda: "hang_stacks.txt" in running.err, "the hang is told")
    (stacks,) = (tmp_path / "logs").rglob("hang_stacks.txt")
    assert "\nranks 0-1: in main, wait_together.py" in stacks.read_text()


def test_the_work_of_a_program_behind_a_shell_is_seen(launcher: Launcher) -> None:
    running = launcher.start("--hang-timeout=1", "--no-python", "sh", "-c", f"{sys.executable} {WAIT}; true")
    until(lambda: "launcher: hang: " in running.err, "the hang is told")
    (inner,) = [pid for pid in launcher.leftovers() if b"wait_together" in words(pid) and b"-c" not in words(pid)]
    assert f"hang: rank 0 (pid {inner}) has waited at a socket" in running.err


def words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_nothing_is_looked_for_with_a_timeout_of_0_or_before_the_first_look(launcher: Launcher) -> None:
    for timeout in (0, 300):
        running = launcher.start(f"--hang-timeout={timeout}", WAIT)
        pids(running, 1)
        assert "watches" not in Path(f"/proc/{running.pid}/maps").read_text()
        names = {path.read_text().strip() for path in Path(f"/proc/{running.pid}/task").glob("*/comm")}
        assert "launcher-hang" not in names


def test_the_policy_can_be_named_like_any_other(launcher: Launcher) -> None:
    running = launcher.start("--policy=hang", "--hang-timeout=1", WAIT)
    until(lambda: "launcher: hang: rank 0 " in running.err, "the hang is told")
    assert running.err.count("launcher: hang: ") == 1


def test_a_watch_that_cannot_be_made_is_told_and_costs_nothing(launcher: Launcher, distributions: Any) -> None:
    distributions.install("rival", "[launcher.policies]\nhang = rival_hang\n", rival_hang="")
    running = launcher.start("--hang-timeout=1", WAIT)
    until(lambda: "launcher: hangs are not looked for: " in running.err, "it is told")
    assert running.process.poll() is None


# --- heartbeats ------------------------------------------------------------------------------------------

BEAT = Path(__file__).parent / "bin" / "beat.py"


@pytest.mark.parametrize(
    "how, said",
    [
        ("silent", r"rank 1 \(pid \d+\) has given no heartbeat for \d+ s"),
        ("long", r"rank 1 \(pid \d+\) has been in section 'checkpoint' for \d+ s, 0.5 s at most"),
    ],
)
def test_who_stops_to_give_heartbeats_is_named_whatever_else_it_does(launcher: Launcher, how: str, said: str) -> None:
    running = launcher.start("--nproc-per-node=2", "--hang-timeout=2", BEAT, how)
    until(lambda: re.search(f"launcher: hang: {said}\n", running.err), "the hang is told")
    (launcher.tmp / "end").touch()
    assert running.wait().code == 0


def test_who_has_asked_for_time_is_not_judged(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=2", "--hang-timeout=2", BEAT, "quiet")
    assert (result.code, "hang" in result.err) == (0, False)


# --- patterns --------------------------------------------------------------------------------------------

LINES = Path(__file__).parent / "bin" / "write_lines.py"


@pytest.mark.parametrize("stream, options", [("stderr", []), ("stdout", ["--redirects=3"]), ("stderr", ["--tee=2"])])
def test_a_line_with_the_pattern_names_its_worker(launcher: Launcher, stream: str, options: list[str]) -> None:
    running = launcher.start(
        "--nproc-per-node=2", *options, "--hang-timeout=0", "--hang-pattern=NCCL WARN.*timeout",
        LINES, stream, "1", "all is well", "NCCL WARN watchdog timeout",
    )  # fmt: skip
    until(lambda: "hang: rank 1 (pid " in running.err, "the hang is told")
    (launcher.tmp / "end").touch()
    result = running.wait()
    assert result.code == 0
    assert re.search(r"hang: rank 1 \(pid \d+\) wrote 'NCCL WARN watchdog timeout'\n", result.err)


def test_when_lines_that_show_progress_stop_to_come_that_is_a_hang(launcher: Launcher) -> None:
    options = ["--tee=3", "--hang-timeout=2", "--progress-pattern=^step \\d"]
    running = launcher.start("--nproc-per-node=2", *options, LINES, "stdout", "0", "step 1", "step 2")
    until(lambda: "hang: no line of output with '^step \\\\d' has come for " in running.err, "the hang is told")
    (launcher.tmp / "end").touch()
    assert running.wait().code == 0


def test_before_the_first_line_that_shows_progress_none_is_missed(launcher: Launcher) -> None:
    options = ["--hang-timeout=1", "--progress-pattern=step", "--hang-pattern=there"]
    running = launcher.start(*options, LINES, "stderr", "0", "still", "not", "there")
    until(lambda: "hang: rank 0" in running.err, "what is written is looked at")
    (launcher.tmp / "end").touch()
    assert "no line of output" not in running.wait().err
