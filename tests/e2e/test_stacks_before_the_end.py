"""A group that failed is looked at before it is stopped: where each worker stood is in a file and in the report."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from launches import Launcher, Running, until

BIN = Path(__file__).parent / "bin"
FAIL = BIN / "fail_among.py"
STANDS = next(number for number, line in enumerate(FAIL.read_text().splitlines(), 1) if "select.select" in line)
FOLDED = f"ranks 0, 2-3: in all_reduce, fail_among.py:{STANDS}"


def stacks_file(folder: Path) -> Path:
    """The one file of stacks under this directory of logs."""
    (path,) = folder.rglob("stacks.txt")
    return path


def begun(launcher: Launcher, here: Path, *options: object) -> Running:
    """A launch of four workers that stand, which fails once there is a file `fail` in its directory."""
    running = launcher.start("--nproc-per-node=4", *options, FAIL, here)
    until(lambda: len(list(here.glob("here*"))) == 4, "all workers are here")
    return running


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_where_the_others_stood_is_in_the_report_and_in_a_file(launcher: Launcher, here: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    running = begun(launcher, here, "--log-dir=logs", f"--report={report}")
    (here / "fail1").touch()
    result = running.wait()
    path = stacks_file(tmp_path / "logs")
    assert (result.code, path.parent.name) == (1, "attempt_0")
    assert f"  stacks   {FOLDED}\n           all of it: {path}\n" in result.err
    head, first, stack, *_ = path.read_text().splitlines()
    assert head.startswith("# rank 1 (local rank 1, pid ") and head.endswith("doing before they were stopped")
    assert (first, stack) == (FOLDED, f"    all_reduce ({FAIL}:{STANDS})")
    assert json.loads(report.read_text())["stacks"] == {"lines": [FOLDED], "file": str(path)}
    assert "stopped by the launcher: ranks 0, 2-3\n" in result.err


def test_each_attempt_has_its_own(launcher: Launcher, here: Path, tmp_path: Path) -> None:
    running = begun(launcher, here, "--log-dir=logs", "--max-restarts=1")
    (here / "fail1").touch()
    until(lambda: len(list(here.glob("here*"))) == 8, "all workers are here again")
    (here / "fail2").touch()
    assert running.wait().code == 1
    found = sorted((tmp_path / "logs").rglob("stacks.txt"))
    assert [path.parent.name for path in found] == ["attempt_0", "attempt_1"]
    assert [path.read_text().splitlines()[1] for path in found] == [FOLDED, FOLDED.replace("0, 2-3", "0-1, 3")]


def test_without_files_the_report_has_the_lines(launcher: Launcher, here: Path) -> None:
    running = begun(launcher, here, "--log-dir=/dev/null")
    (here / "fail1").touch()
    result = running.wait()
    assert f"  stacks   {FOLDED}\n" in result.err
    assert "all of it" not in result.err


def test_the_other_nodes_look_at_theirs(launcher: Launcher, here: Path, tmp_path: Path, free_port: int) -> None:
    options = ["--nproc-per-node=2", "--nnodes=2", f"--master-port={free_port}"]
    nodes = [launcher.start(*options, f"--node-rank={one}", f"--log-dir=logs{one}", FAIL, here) for one in (0, 1)]
    until(lambda: len(list(here.glob("here*"))) == 4, "all workers are here")
    (here / "fail1").touch()
    mine, other = (node.wait() for node in nodes)
    assert (mine.code, other.code) == (1, 1)
    assert f"rank 0: in all_reduce, fail_among.py:{STANDS}" in mine.err
    path = stacks_file(tmp_path / "logs1")
    both = f"ranks 2-3: in all_reduce, fail_among.py:{STANDS}"
    assert f"  stacks   {both}\n           all of it: {path}\n" in other.err
    assert path.read_text().splitlines()[1] == both


def test_workers_without_a_python_stack_are_seen_as_the_kernel_sees_them(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "plain.sh"
    script.write_text("#!/bin/sh\n[ $RANK = 1 ] || exec sleep 1000\nexit 3\n")
    script.chmod(0o755)
    result = launcher.run("--nproc-per-node=2", "--no-python", script, env={"PATH": "/usr/bin:/bin"})
    assert result.code == 1
    (line,) = [line for line in result.err.splitlines() if line.startswith("  stacks ")]
    assert line.startswith("  stacks   rank 0: ")
    assert "no Python stack" not in line


def test_a_signal_of_the_user_is_not_kept_waiting(launcher: Launcher, here: Path, tmp_path: Path) -> None:
    running = begun(launcher, here, "--log-dir=logs")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 143
    assert list((tmp_path / "logs").rglob("stacks.txt")) == []


def test_a_look_that_takes_too_long_is_broken_off_and_the_workers_are_stopped(
    launcher: Launcher, here: Path, tmp_path: Path
) -> None:
    spy = tmp_path / "bin" / "py-spy"
    spy.parent.mkdir()
    spy.write_text("#!/bin/sh\nexec sleep 1000\n")
    spy.chmod(0o755)
    running = launcher.start(
        "--nproc-per-node=2", "--no-python", "/bin/sh", "-c", "[ $RANK = 1 ] || exec sleep 1000; exit 3",
        env={"PATH": f"{spy.parent}:/usr/bin:/bin"},
    )  # fmt: skip
    result = running.wait(20)
    assert result.code == 1
    assert "  stopped by the launcher: rank 0\n" in result.err
    launcher.assert_nothing_is_left()
