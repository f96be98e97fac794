"""What the shell sees at the end: torchrun's exit codes by default, better ones where nobody relies on torchrun's."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import Distributions
from launches import Launcher, until

BIN = Path(__file__).parent / "bin"
END, STAY, TOUCH_SH = BIN / "end_as_told.py", BIN / "stay.py", BIN / "touch_rank.sh"
HANDLED = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]


# --- workers ---------------------------------------------------------------------------------------------


def test_success_is_0(launcher: Launcher) -> None:
    assert launcher.run("--nproc-per-node=2", END, "0", "0", env={"OMP_NUM_THREADS": "1"}) == (0, "", "")


@pytest.mark.parametrize(
    ("how", "own"), [("3", 3), ("255", 255), ("no more data", 1), ("-9", 137), ("-15", 143), ("-11", 139)]
)
def test_a_failed_worker_is_1_or_its_own_code_when_that_is_wanted(launcher: Launcher, how: str, own: int) -> None:
    words = ["--nproc-per-node=2", END, "wait", how]
    assert launcher.run(*words).code == 1
    assert launcher.run("--exit-code=one", *words).code == 1
    assert launcher.run("--exit-code=worker", *words).code == own
    assert launcher.run(*words, env={"PET_EXIT_CODE": "worker"}).code == own


def test_the_first_failure_decides_the_code_not_those_that_were_stopped_for_it(launcher: Launcher) -> None:
    result = launcher.run("--exit-code=worker", "--nproc-per-node=3", END, "wait", "77", "wait")
    assert result.code == 77


def test_a_failure_that_a_restart_made_good_is_success(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "second_time.sh"
    script.write_text('#!/bin/sh\n[ "$TORCHELASTIC_RESTART_COUNT" = 1 ]\n')
    script.chmod(0o755)
    assert launcher.run("--max-restarts=1", "--no-python", script).code == 0
    assert launcher.run("--max-restarts=0", "--no-python", script).code == 1


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize(("how", "own"), [("0", 0), ("5", 5), ("-9", 137), ("wrong", 1)])
def test_scripts_inside_the_workers_interpreter_have_the_same_codes(
    launcher: Launcher, method: str, how: str, own: int
) -> None:
    options = ["--run-path", f"--start-method={method}"]
    assert launcher.run(*options, END, how).code == (1 if own else 0)
    assert launcher.run(*options, "--exit-code=worker", END, how).code == own


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.parametrize("end", ["import sys; sys.exit()", "import os; os._exit(0)", "raise SystemExit"])
def test_an_exit_that_looks_clean_is_success(launcher: Launcher, tmp_path: Path, method: str, end: str) -> None:
    script = tmp_path / "clean.py"
    script.write_text(end)
    assert launcher.run("--run-path", f"--start-method={method}", "--nproc-per-node=2", script).code == 0


def test_an_error_file_that_was_cut_short_does_not_hide_the_failure(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "cut.py"
    script.write_text(
        "import os\nopen(os.environ['TORCHELASTIC_ERROR_FILE'], 'w').write('{\"message\": {\"mes')\nexit(6)\n"
    )
    result = launcher.run("--exit-code=worker", script)
    assert result.code == 6
    assert result.err.startswith(f"{script} FAILED: rank 0 on ")
    assert "Traceback" not in result.err


# --- signals ---------------------------------------------------------------------------------------------


def started(launcher: Launcher, folder: Path, how: str, *options: str) -> Any:
    """A launch of two workers that are there."""
    running = launcher.start(*options, "--nproc-per-node=2", STAY, folder, how)
    until(lambda: (folder / "0").exists() and (folder / "1").exists(), "both workers are there")
    return running


@pytest.mark.parametrize("how", ["die", "exit"])
@pytest.mark.parametrize("signum", HANDLED)
def test_a_signal_that_stops_the_launcher_is_128_and_its_number(
    launcher: Launcher, tmp_path: Path, signum: signal.Signals, how: str
) -> None:
    running = started(launcher, tmp_path, how)
    running.signal(signum)
    result = running.wait()
    assert result.code == 128 + signum
    said = result.err.splitlines()
    assert said[-1] == f"launcher: {signum.name}; passing it on to the workers (once more kills them)"


def test_a_signal_that_was_asked_to_be_handled_is_handled(launcher: Launcher, tmp_path: Path) -> None:
    running = started(launcher, tmp_path, "die", "--signals-to-handle=SIGTERM,SIGUSR1")
    running.signal(signal.SIGUSR1)
    assert running.wait().code == 128 + signal.SIGUSR1


def test_workers_that_ignore_the_signal_are_killed_after_the_grace(launcher: Launcher, tmp_path: Path) -> None:
    running = started(launcher, tmp_path, "ignore", "--shutdown-timeout=0.3")
    running.signal(signal.SIGTERM)
    result = running.wait(10)
    assert result.code == 143
    assert "the grace is over (--shutdown-timeout)" in result.err


def test_a_second_signal_kills_at_once(launcher: Launcher, tmp_path: Path) -> None:
    running = started(launcher, tmp_path, "ignore")
    running.signal(signal.SIGINT)
    until(lambda: "passing it on" in running.err, "the launcher has seen the first signal")
    running.signal(signal.SIGINT)
    assert running.wait(10).code == 130


def test_a_signal_while_other_nodes_are_awaited_ends_the_launch_at_once(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    running = launcher.start("--nnodes=2", f"--master-port={free_port}", "--node-rank=0", END, "0")
    until(lambda: listens(free_port), "the launcher hosts the meeting")
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == 143


def listens(port: int) -> bool:
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGKILL])
def test_a_signal_that_is_not_handled_kills_the_launcher_and_its_workers(
    launcher: Launcher, tmp_path: Path, signum: signal.Signals
) -> None:
    running = started(launcher, tmp_path, "ignore")
    running.signal(signum)
    assert running.wait().code == -signum
    launcher.assert_nothing_is_left()


# --- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "begins"),
    [
        (["--help"], "usage: launcher "),
        (["-h"], "usage: launcher "),
        (["--version"], "launcher "),
        (["--list-plugins"], "group "),
        (["--print-completion=bash"], "# Completion"),
    ],
)
def test_a_question_is_answered_with_0(launcher: Launcher, args: list[str], begins: str) -> None:
    result = launcher.run(*args)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(begins)


def test_a_request_that_makes_no_sense_is_2(launcher: Launcher) -> None:
    wrong: tuple[list[object], ...] = (
        ["--nnodes=0", END],
        ["missing.py"],
        ["--no-python", "no-such-program"],
        ["--nnodes=x", END],
        [],
    )
    assert [launcher.run(*args).code for args in wrong] == [2] * 5


# --- nodes -----------------------------------------------------------------------------------------------


def test_nodes_that_do_not_come_are_1(launcher: Launcher, free_port: int) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--rdzv-conf=timeout=1", "--node-rank=0"]
    result = launcher.run(*options, END, "0")
    assert result.code == 1
    (line,) = result.err.splitlines()[-1:]
    assert line.startswith("launcher: error: no round formed within 1 s ")


def test_a_host_that_does_not_come_is_1(launcher: Launcher, free_port: int) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--rdzv-conf=timeout=1", "--node-rank=1"]
    result = launcher.run(*options, END, "0")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith(f"launcher: error: nobody answers at 127.0.0.1:{free_port} ")


def test_every_node_of_a_failed_job_is_1(launcher: Launcher, free_port: int) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}"]
    nodes = [launcher.start(*options, f"--node-rank={rank}", END, "wait", "5") for rank in (0, 1)]
    first, second = (node.wait() for node in nodes)
    assert (first.code, second.code) == (1, 1)
    assert "rank 1 (local rank 0, pid " in first.err and "exited with code 5" in first.err
    assert second.err.startswith(f"{END} FAILED: rank 1 on ")


def test_a_node_whose_workers_did_not_fail_is_1_also_with_the_workers_own_codes(
    launcher: Launcher, free_port: int
) -> None:
    options = ["--exit-code=worker", "--nnodes=2", f"--master-port={free_port}"]
    nodes = [launcher.start(*options, f"--node-rank={rank}", END, "wait", "5") for rank in (0, 1)]
    assert [node.wait().code for node in nodes] == [1, 5]


def test_a_spare_node_that_was_not_needed_is_0(launcher: Launcher, tmp_path: Path, free_port: int) -> None:
    script = tmp_path / "until_told.py"
    script.write_text(
        "import os, pathlib, time\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / ('rank' + os.environ['RANK'])).touch()\n"
        "while not (here / 'go').exists(): time.sleep(0.02)\n"
    )
    options = ["--nnodes=1:1", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port}", "--rdzv-id=job"]
    busy = launcher.start(*options, script)
    until(lambda: (tmp_path / "rank0").exists(), "the first node runs")
    spare = launcher.start(*options, script)
    until(lambda: "the job is full; this node is a spare" in spare.err, "the second node is a spare")
    (tmp_path / "go").touch()
    assert (busy.wait().code, spare.wait().code) == (0, 0)


CLOSED = """
from launcher_core import hookimpl
from launcher_core.errors import {error}

class Handler:
    use_agent_store = False

    def get_backend(self): return "over"
    def get_run_id(self): return "job"
    def is_closed(self): return True
    def set_closed(self): pass
    def num_nodes_waiting(self): return 0
    def shutdown(self): return True

    def next_rendezvous(self):
        raise {error}("the job has ended")

@hookimpl
def launcher_make_rendezvous():
    return Handler()
"""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("RendezvousClosedError", 1, "launcher: error: the job has ended\n"),
        ("RendezvousTimeoutError", 1, "launcher: error: the job has ended\n"),
        ("RendezvousConnectionError", 1, "launcher: error: the job has ended\n"),
        ("RendezvousGracefulExitError", 0, ""),
    ],
)
def test_a_rendezvous_that_cannot_be_had_is_1_and_one_that_is_not_needed_0(
    launcher: Launcher, distributions: Distributions, error: str, code: int, said: str
) -> None:
    source = CLOSED.format(error=error)
    distributions.install("over", "[launcher.rendezvous]\nover = over_rendezvous\n", over_rendezvous=source)
    result = launcher.run("--rdzv-backend=over", TOUCH_SH.with_name("end_as_told.py"), "0")
    assert (result.code, result.out, result.err) == (code, "", said)


def test_nodes_that_finish_late_are_waited_for_so_long_and_this_one_is_0(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--exit-barrier-timeout=0.5", "--rdzv-conf=timeout=20"]
    early = launcher.start(*options, "--node-rank=1", STAY.with_name("end_as_told.py"), "0", "0")
    late = launcher.start(*options, "--node-rank=0", STAY, tmp_path, "exit")
    result = early.wait(20)
    assert result.code == 0
    assert "the other nodes did not finish in time (--exit-barrier-timeout)" in result.err
    late.signal(signal.SIGTERM)
    assert late.wait().code == 143


NONSENSE = """
import json, socket, sys
def frame(**fields):
    body = json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    while True:
        agent, _ = server.accept()
        agent.sendall(frame(type="challenge", nonce="", token=False))
        agent.sendall(frame(type="welcome", silence=9, interval=3, nonce="", proof="") + frame(type=sys.argv[1]))
"""


@pytest.mark.parametrize("kind", ["seat", "refused", "waiting", "dismiss", "end"])
def test_a_host_that_talks_nonsense_ends_the_launch(launcher: Launcher, kind: str) -> None:
    with subprocess.Popen([sys.executable, "-c", NONSENSE, kind], stdout=subprocess.PIPE) as host:
        try:
            assert host.stdout is not None
            endpoint = f"127.0.0.1:{int(host.stdout.readline())}"
            options = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint={endpoint}", "--rdzv-conf=is_host=no"]
            result = launcher.run(*options, END, "0", timeout=20)
        finally:
            host.kill()
    assert (result.code, result.out) == (1, "")
    assert f"launcher: error: what listens at {endpoint} does not answer as an agent does (" in result.err
    assert "Traceback" not in result.err
