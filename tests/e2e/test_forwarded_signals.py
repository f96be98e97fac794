"""--forward-signals: a signal to the launcher reaches each worker, and nothing else comes of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from in_process import InProcess
from launches import Launcher, Running, until

from launcher_core import LaunchConfig, elastic_launch
from launcher_core.errors import UsageError

COUNT = Path(__file__).parent / "bin" / "count_signals.py"
METHODS = ["exec", "spawn", "fork", "forkserver"]
FORWARD = "--forward-signals=SIGUSR1,SIGUSR2"
LOST = "SIGUSR1 is not passed on: no worker runs at this time\n"


@pytest.fixture
def got(tmp_path: Path) -> Path:
    """Where workers write down the signals they get."""
    folder = tmp_path / "got"
    folder.mkdir()
    return folder


@pytest.fixture
def gentle(got: Path) -> Path:
    """A worker that notes each signal and ends well as soon as there is a file `end`."""
    script = got.parent / "gentle.py"
    script.write_text(GENTLE.format(folder=str(got)))
    return script


GENTLE = """
import os, pathlib, select, signal
folder = pathlib.Path({folder!r})
noted = folder / os.environ["RANK"]
def got(signum, frame):
    with noted.open("a") as lines:
        print(signal.Signals(signum).name, file=lines)
for name in ("SIGUSR1", "SIGUSR2"):
    signal.signal(getattr(signal, name), got)
noted.touch()
while not (folder.parent / "end").exists():
    select.select([], [], [], 0.01)
"""


def heard(folder: Path) -> list[str]:
    """What each worker got, in the order of their ranks."""
    return [path.read_text() for path in sorted(folder.iterdir())]


def all_heard(folder: Path, text: str, count: int = 2) -> None:
    until(lambda: heard(folder) == [text] * count, f"{count} workers have heard {text!r}")


def fed(fifo: Path) -> bool:
    """Whether somebody reads there, who has now got a line."""
    try:
        writing = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    os.write(writing, b"end\n")
    os.close(writing)
    return True


def handles(running: Running, signum: int) -> bool:
    """Whether the launcher has its handlers: it has that of SIGTERM only while its loop listens."""
    lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return all(caught >> one - 1 & 1 for one in (signum, signal.SIGTERM))


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_every_start_method_hear_each_signal_and_the_job_goes_on(
    launcher: Launcher, got: Path, gentle: Path, method: str
) -> None:
    by = [] if method == "exec" else ["--run-path", f"--start-method={method}"]
    running = launcher.start(*by, FORWARD, "--nproc-per-node=2", gentle)
    all_heard(got, "")
    running.signal(signal.SIGUSR1)
    all_heard(got, "SIGUSR1\n")
    running.signal(signal.SIGUSR1)
    all_heard(got, "SIGUSR1\nSIGUSR1\n")
    running.signal(signal.SIGUSR2)
    all_heard(got, "SIGUSR1\nSIGUSR1\nSIGUSR2\n")
    (got.parent / "end").touch()
    result = running.wait(10)
    assert (result.code, " FAILED: " in result.err) == (0, False)
    assert result.err.count("launcher: SIGUSR1; passed on to 2 workers (--forward-signals)\n") == 2
    assert result.err.count("launcher: SIGUSR2; passed on to 2 workers (--forward-signals)\n") == 1


def test_two_signals_at_once_reach_every_worker(launcher: Launcher, got: Path, gentle: Path) -> None:
    running = launcher.start(FORWARD, "--nproc-per-node=2", gentle)
    all_heard(got, "")
    running.signal(signal.SIGUSR2)
    running.signal(signal.SIGUSR1)
    until(lambda: [sorted(text.split()) for text in heard(got)] == [["SIGUSR1", "SIGUSR2"]] * 2, "both are heard")
    (got.parent / "end").touch()
    assert running.wait(10).code == 0


def test_a_signal_that_ends_the_job_still_does_and_is_the_first_of_its_kind(launcher: Launcher, got: Path) -> None:
    options = [FORWARD, "--nproc-per-node=2", "--shutdown-timeout=60"]
    running = launcher.start(*options, COUNT, got, "stay", "SIGUSR1")
    all_heard(got, "")
    running.signal(signal.SIGUSR1)
    all_heard(got, "SIGUSR1\n")
    running.signal(signal.SIGTERM)
    all_heard(got, "SIGUSR1\nSIGTERM\n")
    running.signal(signal.SIGUSR1)
    all_heard(got, "SIGUSR1\nSIGTERM\nSIGUSR1\n")
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == 143


def test_what_a_worker_started_hears_nothing(launcher: Launcher, got: Path, tmp_path: Path) -> None:
    script = tmp_path / "parent.sh"
    script.write_text(
        f'#!/bin/sh\ntrap "touch {tmp_path}/noted" USR1\nsh -c "echo up >{got}/0; read line <{tmp_path}/fifo" &\n'
        "child=$!\nwait $child\nwait $child\n"
    )
    script.chmod(0o755)
    os.mkfifo(tmp_path / "fifo")
    running = launcher.start(FORWARD, "--no-python", script)
    all_heard(got, "up\n", 1)
    running.signal(signal.SIGUSR1)
    until((tmp_path / "noted").exists, "the worker has heard it")
    until(lambda: fed(tmp_path / "fifo"), "its child is still there to read")
    assert running.wait(10).code == 0


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_while_the_nodes_meet_is_told_and_lost(
    launcher: Launcher, got: Path, gentle: Path, free_port: int, rank: int
) -> None:
    options = [FORWARD, "--nnodes=2", f"--master-port={free_port}", gentle]
    first = launcher.start(f"--node-rank={rank}", *options)
    until(lambda: handles(first, signal.SIGUSR1), "the launcher handles the signal")
    first.signal(signal.SIGUSR1)
    until(lambda: f"launcher: {LOST}" in first.err, "it says so")
    second = launcher.start(f"--node-rank={1 - rank}", *options)
    all_heard(got, "")
    (got.parent / "end").touch()
    assert (first.wait(10).code, second.wait(10).code) == (0, 0)
    assert heard(got) == ["", ""]


def test_only_the_node_that_is_signalled_passes_it_on(
    launcher: Launcher, got: Path, gentle: Path, free_port: int
) -> None:
    options = [FORWARD, "--nnodes=2", f"--master-port={free_port}", gentle]
    host, guest = (launcher.start(f"--node-rank={rank}", *options) for rank in (0, 1))
    all_heard(got, "")
    guest.signal(signal.SIGUSR1)
    until(lambda: heard(got) == ["", "SIGUSR1\n"], "the worker of one node has heard it")
    (got.parent / "end").touch()
    assert (host.wait(10).code, guest.wait(10).code) == (0, 0)


def test_a_worker_that_does_not_expect_it_fails_of_it(launcher: Launcher, got: Path) -> None:
    running = launcher.start(FORWARD, COUNT, got, "stay")
    all_heard(got, "", 1)
    running.signal(signal.SIGUSR2)
    result = running.wait(10)
    assert result.code == 1
    assert "SIGUSR2" in result.err.partition(" FAILED: ")[2]


def test_a_program_may_answer_with_a_code_that_has_the_job_queued_again(launcher: Launcher, got: Path) -> None:
    script = got.parent / "preempted.sh"
    script.write_text(f"#!/bin/sh\ntrap 'exit 75' USR1\n: >{got}/$RANK\nwhile :; do sleep 0.01; done\n")
    script.chmod(0o755)
    running = launcher.start(FORWARD, "--exit-code=worker", "--nproc-per-node=2", "--no-python", script)
    all_heard(got, "")
    running.signal(signal.SIGUSR1)
    assert running.wait(10).code == 75


def test_without_the_option_the_signal_kills_the_launcher_as_ever(launcher: Launcher, got: Path, gentle: Path) -> None:
    running = launcher.start("--nproc-per-node=2", gentle)
    all_heard(got, "")
    running.signal(signal.SIGUSR1)
    assert running.wait(10).code == -signal.SIGUSR1


def test_a_hang_up_that_nohup_had_ignored_is_passed_on_where_it_was_asked_for(launcher: Launcher, got: Path) -> None:
    options = ["--signals-to-handle=SIGTERM", "--forward-signals=HUP,INT", "--shutdown-timeout=0.1"]
    launcher.wrapper = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *launcher.wrapper]
    running = launcher.start(*options, COUNT, got, "stay")
    all_heard(got, "", 1)
    running.signal(signal.SIGHUP)
    all_heard(got, "SIGHUP\n", 1)
    running.signal(signal.SIGINT)
    all_heard(got, "SIGHUP\nSIGINT\n", 1)
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == 143


# --- from a program --------------------------------------------------------------------------------------


def test_a_program_may_ask_for_it_and_has_its_own_handlers_back(in_process: InProcess, tmp_path: Path) -> None:
    config = LaunchConfig(1, 1, 1, run_id="job", forward_signals="USR1")
    text = f"trap 'echo heard >{tmp_path}/noted; exit 0' USR1; kill -USR1 $PPID; while :; do sleep 0.01; done"
    assert in_process.call(lambda: elastic_launch(config, "/bin/sh")("-c", text)) == {0: None}
    assert (tmp_path / "noted").read_text() == "heard\n"


@pytest.mark.parametrize("names", ["KILL", "SIGNONE", "USR1,TERM"])
def test_a_program_is_told_what_cannot_be_passed_on(names: str) -> None:
    config = LaunchConfig(1, 1, 1, run_id="job", forward_signals=names)
    with pytest.raises(UsageError, match="--forward-signals="):
        elastic_launch(config, sys.executable)("-c", "")
