"""The notice of a preemption: errands are run, the workers of all nodes have their grace, and the code is 75."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from in_process import InProcess
from launches import Launcher, Running, until

from launcher_core import LaunchConfig, elastic_launch
from launcher_core.errors import PreemptedError, UsageError

SIGNAL = "--preempt-signal=SIGUSR1"

SAVES = """
import os, pathlib, select, signal, sys
folder, rank = pathlib.Path({folder!r}), os.environ["RANK"]
def term(signum, frame):
    (folder / ("saved" + rank)).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, term)
(folder / ("here" + rank)).touch()
while not (folder / ("end" + rank)).exists():
    select.select([], [], [], 0.01)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


@pytest.fixture
def saves(tmp_path: Path, folder: Path) -> Path:
    """A worker that saves when it is asked to stop, and ends by itself once there is a file `endRANK`."""
    script = tmp_path / "saves.py"
    script.write_text(SAVES.format(folder=str(folder)))
    return script


def names(folder: Path, kind: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{kind}*"))


def all_here(folder: Path, count: int = 2) -> None:
    until(lambda: len(names(folder, "here")) == count, f"{count} workers are here")


def begun(launcher: Launcher, folder: Path, script: Path, *options: object) -> Running:
    running = launcher.start("--nproc-per-node=2", *options, script)
    all_here(folder)
    return running


def test_a_signal_has_the_workers_save_and_the_code_is_75(launcher: Launcher, folder: Path, saves: Path) -> None:
    report = folder / "report.json"
    running = begun(launcher, folder, saves, SIGNAL, f"--report={report}", "--max-restarts=3")
    running.signal(signal.SIGUSR1)
    result = running.wait()
    assert (result.code, names(folder, "saved")) == (75, ["saved0", "saved1"])
    first, last = result.err.splitlines()[1:]
    assert first == "launcher: SIGUSR1 came (--preempt-signal); the job is preempted: stopping the workers on all nodes"
    assert last.startswith("launcher: error: preempted: SIGUSR1 came (--preempt-signal); the workers were stopped")
    found = json.loads(report.read_text())
    assert (found["outcome"], found["exit_code"], found["cause"]["class"]) == ("stopped", 75, "preempted")


@pytest.mark.parametrize("how", ["create", "move", "again"])
def test_a_file_is_such_a_notice_when_it_appears_or_is_written_again(
    launcher: Launcher, folder: Path, saves: Path, tmp_path: Path, how: str
) -> None:
    notice = tmp_path / "notice"
    if how == "again":
        notice.touch()
    running = begun(launcher, folder, saves, f"--preempt-file={notice}")
    assert (f"--preempt-file={notice}: there already" in running.err) == (how == "again")
    if how == "move":
        (tmp_path / "other").touch()
        (tmp_path / "other").rename(notice)
    else:
        notice.write_text("now")
    result = running.wait()
    assert (result.code, names(folder, "saved")) == (75, ["saved0", "saved1"])
    assert f"launcher: there is a file {notice} (--preempt-file); the job is preempted" in result.err


def test_without_a_notice_neither_option_changes_anything(
    launcher: Launcher, folder: Path, saves: Path, tmp_path: Path
) -> None:
    running = begun(launcher, folder, saves, SIGNAL, f"--preempt-file={tmp_path / 'notice'}", "--on-preempt=false")
    (folder / "end0").touch()
    (folder / "end1").touch()
    assert running.wait().code == 0


def test_the_command_is_run_while_the_workers_still_do(launcher: Launcher, folder: Path, saves: Path) -> None:
    command = f'cd {folder}; echo "$LAUNCHER_PREEMPTED" >noticed; ls saved* 2>/dev/null; read line <{folder}/fifo'
    os.mkfifo(folder / "fifo")
    running = begun(launcher, folder, saves, SIGNAL, f"--on-preempt={command}")
    running.signal(signal.SIGUSR1)
    until((folder / "noticed").exists, "the command runs")
    assert names(folder, "saved") == []
    (folder / "fifo").write_text("go on\n")
    result = running.wait()
    assert (result.code, result.out, names(folder, "saved")) == (75, "", ["saved0", "saved1"])
    assert (folder / "noticed").read_text() == "SIGUSR1 came (--preempt-signal)\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [("exit 3", "--on-preempt='exit 3' ended with exit code 3"),
     ("kill -9 $$", "--on-preempt='kill -9 $$' ended with signal 9"),
     ("exec sleep 1000", "what is run for the preemption has had its time (--shutdown-timeout)")],
)  # fmt: skip
def test_a_command_that_fails_or_takes_too_long_does_not_keep_the_workers_from_saving(
    launcher: Launcher, folder: Path, saves: Path, command: str, said: str
) -> None:
    running = begun(launcher, folder, saves, SIGNAL, f"--on-preempt={command}", "--shutdown-timeout=1")
    running.signal(signal.SIGUSR1)
    result = running.wait(20)
    assert (result.code, names(folder, "saved")) == (75, ["saved0", "saved1"])
    assert said in result.err


@pytest.mark.parametrize("which", [0, 1])
def test_all_nodes_end_alike_whichever_had_the_notice(
    launcher: Launcher, folder: Path, saves: Path, free_port: int, which: int
) -> None:
    command = f"--on-preempt=echo ran >>{folder}/ran"
    options = [SIGNAL, "--nnodes=2", f"--master-port={free_port}", command, saves]
    nodes = [launcher.start(f"--node-rank={rank}", *options) for rank in (0, 1)]
    all_here(folder)
    nodes[which].signal(signal.SIGUSR1)
    results = [node.wait() for node in nodes]
    assert [one.code for one in results] == [75, 75]
    assert names(folder, "saved") == ["saved0", "saved1"]
    assert (folder / "ran").read_text() == "ran\nran\n"
    assert "launcher: error: preempted: SIGUSR1 came (--preempt-signal) on " in results[1 - which].err


def test_nodes_over_a_file_end_alike_too(launcher: Launcher, folder: Path, saves: Path, tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    meet = ["--rdzv-backend=file", f"--rdzv-endpoint={tmp_path / 'meet'}", "--rdzv-id=j"]
    options = [SIGNAL, "--nnodes=2", *meet, saves]
    nodes = [launcher.start(*options) for _ in range(2)]
    all_here(folder)
    nodes[1].signal(signal.SIGUSR1)
    assert [node.wait().code for node in nodes] == [75, 75]
    assert names(folder, "saved") == ["saved0", "saved1"]


def test_a_node_that_is_done_and_waits_for_the_others_is_told(
    launcher: Launcher, folder: Path, saves: Path, free_port: int
) -> None:
    options = [SIGNAL, "--nnodes=2", f"--master-port={free_port}", saves]
    nodes = [launcher.start(f"--node-rank={rank}", *options) for rank in (0, 1)]
    all_here(folder)
    (folder / "end0").touch()
    nodes[1].signal(signal.SIGUSR1)
    assert [node.wait().code for node in nodes] == [75, 75]


def test_a_notice_while_the_nodes_meet_ends_the_launch(launcher: Launcher, saves: Path, free_port: int) -> None:
    running = launcher.start(SIGNAL, "--nnodes=2", f"--master-port={free_port}", "--node-rank=0", saves)
    until(lambda: handles(running, signal.SIGUSR1), "the launcher handles the signal")
    running.signal(signal.SIGUSR1)
    assert running.wait(20).code == 75


def handles(running: Running, signum: int) -> bool:
    """Whether the launcher has its handlers: it has that of SIGTERM only while its loop listens."""
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return all(caught >> one - 1 & 1 for one in (signum, signal.SIGTERM))


def test_the_signal_that_a_scheduler_sends_next_changes_no_code_and_a_second_one_kills(
    launcher: Launcher, folder: Path, tmp_path: Path
) -> None:
    script = tmp_path / "stubborn.sh"
    waits = "while :; do sleep 0.01; done"
    script.write_text(f"#!/bin/sh\ntrap 'echo term >>{folder}/got' TERM\n: >{folder}/here$RANK\n{waits}\n")
    script.chmod(0o755)
    running = launcher.start(SIGNAL, "--no-python", script)
    all_here(folder, 1)
    running.signal(signal.SIGUSR1)
    until(lambda: (folder / "got").exists(), "the worker is asked to stop")
    running.signal(signal.SIGTERM)
    until(lambda: (folder / "got").read_text() == "term\nterm\n", "the signal is passed on")
    running.signal(signal.SIGTERM)
    assert running.wait(20).code == 75


def test_a_program_has_an_error_of_its_own_for_it(in_process: InProcess, tmp_path: Path) -> None:
    config = LaunchConfig(1, 1, 1, run_id="job", preempt_signal="USR1")
    text = "kill -USR1 $PPID; exec sleep 1000"
    with pytest.raises(PreemptedError, match="SIGUSR1 came"):
        in_process.call(lambda: elastic_launch(config, "/bin/sh")("-c", text))


def test_a_signal_has_one_meaning_only(in_process: InProcess) -> None:
    config = LaunchConfig(1, 1, 1, run_id="job", preempt_signal="USR1", forward_signals="USR2,USR1")
    with pytest.raises(UsageError, match="--preempt-signal='USR1': SIGUSR1 is one of --forward-signals=USR2,USR1"):
        elastic_launch(config, "/bin/true")()
