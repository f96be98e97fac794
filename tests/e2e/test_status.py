"""Asking launches that run: --status, --stacks, and a scheduler's probe."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher, Running, until

from launcher_core.runtime.asking import addresses

pytestmark = pytest.mark.usefixtures("ended")


BIN = Path(__file__).parent / "bin"
STAND, RECORDED, STAY = BIN / "stand.py", BIN / "stand_recorded.py", BIN / "stay.py"
NOBODY = 65534


def ask(*words: object, path: str = "", **popen: Any) -> subprocess.CompletedProcess[str]:
    """What the launcher prints when it is asked with these words."""
    command = [sys.executable, "-m", "launcher_core", *map(str, words)]
    env = {**os.environ, **({"PATH": path} if path else {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, **popen)


def facts(running: Running, question: str = "status") -> dict[str, Any] | None:
    """What this launch says of itself; None when it says nothing."""
    found = json.loads(ask(f"--{question}=json").stdout)["launchers"]
    return next((one for one in found if one["pid"] == running.pid), None)


def in_state(running: Running, state: str) -> dict[str, Any]:
    """What the launch says once it is in that state."""
    found = until(lambda: (now := facts(running)) and now["state"] == state and now, f"{running.pid} is {state}")
    assert isinstance(found, dict)
    return found


def standing(launcher: Launcher, *options: object, script: object = STAND, count: int = 2) -> Running:
    """A launch whose workers stand."""
    running = launcher.start(f"--nproc-per-node={count}", *options, script)
    until(lambda: (running.out + running.err).count("here\n") == count, "the workers are here")
    return running


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_two_launches_are_both_shown_and_each_can_be_chosen(launcher: Launcher) -> None:
    job = uuid.uuid4().hex
    one, two = standing(launcher, f"--rdzv-id={job}"), standing(launcher, count=1)
    everything = ask("--status")
    assert everything.returncode == 0
    assert all(f"launcher {running.pid} on" in everything.stdout for running in (one, two))
    for words in ([f"--status={one.pid}"], ["--status", one.pid], ["--status", f"--rdzv-id={job}"]):
        chosen = ask(*words)
        assert (chosen.returncode, chosen.stdout.count("launcher ")) == (0, 1)
        assert f"launcher {one.pid} on {socket.gethostname()}: job {job}" in chosen.stdout
        assert "running, round 0, node 0 of 1 (1), 2 workers in all, 0 of 0 restarts" in chosen.stdout


def test_where_nobody_is_to_be_asked_the_exit_code_is_1_and_a_sentence_says_so() -> None:
    answer = ask(f"--status={os.getpid()}")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"no launcher of yours runs with pid {os.getpid()}; --status lists all\n"
    assert ask("--stacks", f"--rdzv-id={uuid.uuid4().hex}").returncode == 1


def test_what_is_neither_form_nor_pid_is_refused() -> None:
    answer = ask("--status=yaml")
    assert (answer.returncode, "--status='yaml': write text, json, or a launcher's pid" in answer.stderr) == (2, True)


def test_each_worker_is_told_with_its_process_and_its_files(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--nproc-per-node=2", "--redirects=1", f"--log-dir={tmp_path / 'logs'}", STAND)
    until(lambda: len([path for path in tmp_path.rglob("stdout.log") if path.read_text()]) == 2, "both have written")
    found = in_state(running, "running")
    assert [(one["local_rank"], one["rank"], one["exit_code"]) for one in found["workers"]] == [
        (0, 0, None),
        (1, 1, None),
    ]
    for one in found["workers"]:
        assert b"stand.py" in Path(f"/proc/{one['pid']}/cmdline").read_bytes()
        assert Path(one["stdout"]).read_text() == "here\n"
        assert one["process_state"] == "sleeping"
        assert one["rss_bytes"] > 1 << 20
        assert one["cpu_seconds"] > 0
        assert one["last_output_seconds"] >= 0


def test_a_launch_that_waits_for_nodes_says_so_and_is_not_ready(launcher: Launcher, tmp_path: Path) -> None:
    (tmp_path / "meet").mkdir()
    running = launcher.start("--nnodes=2", "--rdzv-backend=file", f"--rdzv-endpoint={tmp_path / 'meet'}",
                             "--health-port=127.0.0.1:0", STAND)  # fmt: skip
    found = in_state(running, "rendezvous")
    assert (found["round"], found["nodes"]["min"], found["workers"]) == (-1, 2, [])
    assert probe(found, "/livez") == "HTTP/1.1 200 OK"
    assert probe(found, "/readyz") == "HTTP/1.1 503 Service Unavailable"


def test_a_restart_is_counted_with_its_cause(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--max-restarts=2", STAND, "--fail", tmp_path)
    until(lambda: "here\n" in running.out, "the second try is here")
    found = in_state(running, "running")
    (cause,) = found["restarts"].pop("causes")
    assert (found["round"], found["restarts"]) == (1, {"spent": 1, "max": 2})
    assert (cause["kind"], cause["count"]) == ("failure", 1)
    assert "exited with code 3" in cause["reason"]


def test_a_node_that_has_lost_its_peer_is_restarting(launcher: Launcher, free_port: int) -> None:
    options = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port}", "--rdzv-id=lost"]
    one = launcher.start(*options, STAND)  # the first is the host
    in_state(one, "rendezvous")
    two = launcher.start(*options, STAND)
    in_state(one, "running")
    two.signal(signal.SIGKILL)
    found = in_state(one, "restarting")
    assert [cause["kind"] for cause in found["restarts"]["causes"]] == ["members"]


def test_a_launch_that_stops_its_workers_says_so(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--nproc-per-node=2", STAY, tmp_path, "ignore")
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), "the workers are here")
    running.signal(signal.SIGTERM)
    assert len(in_state(running, "stopping")["workers"]) == 2
    running.signal(signal.SIGTERM)
    running.wait()


def test_a_stopped_launcher_does_not_answer_and_is_named(launcher: Launcher) -> None:
    running = standing(launcher)
    running.signal(signal.SIGSTOP)
    answers = [ask(f"--status={running.pid}") for _ in range(2)]
    running.signal(signal.SIGCONT)
    for answer in answers:
        assert (answer.returncode, answer.stdout) == (1, "")
        assert f"launcher {running.pid}: it does not answer" in answer.stderr
    in_state(running, "running")


def test_a_launcher_that_was_killed_is_found_no_more(launcher: Launcher) -> None:
    running = standing(launcher)
    running.signal(signal.SIGKILL)
    running.wait()
    assert ask(f"--status={running.pid}").returncode == 1
    assert running.pid not in [one.pid for one in addresses()]


# --- who asks --------------------------------------------------------------------------------------------


def line_to(running: Running) -> socket.socket:
    """A connection to the launcher's socket."""
    (name,) = [one.name for one in addresses() if one.pid == running.pid]
    line = socket.socket(socket.AF_UNIX)
    line.connect(f"\0{name}")  # with a timeout it would not wait where the row is full
    line.settimeout(30)
    return line


def test_who_asks_nothing_or_nonsense_costs_the_others_nothing(launcher: Launcher) -> None:
    running = standing(launcher)
    silent = [line_to(running) for _ in range(40)]
    for words in (b"sta", b"status", b"shutdown\n", b"status\nstatus\n", bytes(range(256)) * 64, b"\0"):
        with line_to(running) as line, suppress(ConnectionError):  # it may be closed while we still write
            line.sendall(words)
            assert line.recv(100) == b""
    in_state(running, "running")
    for line in silent:
        line.close()
    running.signal(signal.SIGTERM)
    assert running.wait().code == 128 + signal.SIGTERM


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_nothing(launcher: Launcher) -> None:
    running = standing(launcher)
    (name,) = [one.name for one in addresses() if one.pid == running.pid]
    program = (
        "import os, socket, sys; os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))\n"
        "line = socket.socket(socket.AF_UNIX); line.connect('\\0' + sys.argv[1])\n"
        "try: line.sendall(b'status\\n'); print(line.recv(100))\n"
        "except OSError: print(b'')"
    )
    told = subprocess.run([sys.executable, "-c", program, name, str(NOBODY)], capture_output=True, timeout=60)
    assert (told.stdout, told.stderr) == (b"b''\n", b"")


def test_a_name_that_another_user_took_is_no_launcher(launcher: Launcher) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(f"\0launcher-{os.geteuid() + 1}-{os.getpid()}-feedbeef")
        stranger.listen()
        assert ask(f"--status={os.getpid()}").returncode == 1


# --- stacks ----------------------------------------------------------------------------------------------


def place(function: str, script: Path) -> str:
    """Where a worker stands that is in this function of a script: on its first line."""
    line = script.read_text().splitlines().index(f"def {function}() -> None:") + 2
    return f"in {function}, {script.name}:{line}"


def test_workers_that_stand_at_one_place_are_shown_once(launcher: Launcher) -> None:
    running = standing(launcher, script=RECORDED, count=4)
    answer = ask(f"--stacks={running.pid}")
    assert answer.returncode == 0
    heads = [line for line in answer.stdout.splitlines() if line.startswith("rank")]
    assert heads == [f"rank 0: {place('load', RECORDED)}", f"ranks 1-3: {place('reduce', RECORDED)}"]
    assert ask(f"--stacks={running.pid}").stdout == answer.stdout


def test_a_script_in_the_workers_interpreter_need_not_know_of_it(launcher: Launcher) -> None:
    running = standing(launcher, "--run-path")
    assert f"rank 0: {place('load', STAND)}" in ask(f"--stacks={running.pid}").stdout


@pytest.mark.parametrize("words", [[STAND], [STAND, "--urgent"], ["--no-python", "sleep", "100"]])
def test_a_worker_that_offers_nothing_is_not_touched(launcher: Launcher, words: list[object], tmp_path: Path) -> None:
    running = launcher.start(*words)
    until(lambda: words[0] != STAND or "here\n" in running.out, "the worker is here")
    (worker,) = in_state(running, "running")["workers"]
    answer = ask(f"--stacks={running.pid}")
    assert (
        "makes no offer to show its stacks, or waits for a signal, and py-spy is not installed (extra: stacks)"
        in answer.stdout
    )
    assert "\nrank 0: sleeping" in answer.stdout
    assert (alive(worker["pid"]), (tmp_path / "urgent").exists()) == (True, False)


def test_a_stopped_worker_is_said_not_to_answer_and_the_others_are_shown(launcher: Launcher) -> None:
    running = standing(launcher, script=RECORDED)
    pids = [one["pid"] for one in in_state(running, "running")["workers"]]
    os.kill(pids[1], signal.SIGSTOP)
    answer = ask(f"--stacks={running.pid}").stdout
    os.kill(pids[1], signal.SIGCONT)
    assert f"rank 0: {place('load', RECORDED)}" in answer
    assert "rank 1: stopped" in answer
    assert "it was asked for its stacks, and does not answer" in answer


def test_a_worker_that_waits_for_a_signal_is_not_disturbed(launcher: Launcher, tmp_path: Path) -> None:
    running = launcher.start("--run-path", STAND, "--pause")
    until(lambda: "here\n" in running.out, "the worker is here")
    (worker,) = in_state(running, "running")["workers"]
    until(lambda: Path(f"/proc/{worker['pid']}/stat").read_text().rpartition(")")[2].split()[0] == "S", "it waits")
    assert "or waits for a signal" in ask(f"--stacks={running.pid}").stdout
    assert (alive(worker["pid"]), (tmp_path / "disturbed").exists()) == (True, False)


def spy(folder: Path, *lines: str) -> str:
    """A PATH on which py-spy is a program of these lines."""
    folder.mkdir()
    (folder / "py-spy").write_text("\n".join(["#!/bin/sh", *lines]))
    (folder / "py-spy").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_py_spy_is_used_where_it_is_there(launcher: Launcher, tmp_path: Path) -> None:
    frame = '{"name": "load", "filename": "/x/stand.py", "line": 3}'
    launcher.env["PATH"] = spy(tmp_path / "bin", f'echo \'[{{"thread_name": "MainThread", "frames": [{frame}]}}]\'')
    running = standing(launcher)
    assert "ranks 0-1: in load, stand.py:3" in ask(f"--stacks={running.pid}").stdout


def test_a_py_spy_that_fails_says_why_and_one_that_hangs_is_ended(launcher: Launcher, tmp_path: Path) -> None:
    launcher.env["PATH"] = spy(
        tmp_path / "bin", "[ -e hang ] && exec sleep 1000", "echo 'Permission denied' >&2; exit 1"
    )
    running = standing(launcher)
    assert "py-spy says: Permission denied" in ask(f"--stacks={running.pid}").stdout
    (tmp_path / "hang").touch()
    assert "py-spy took too long" in ask(f"--stacks={running.pid}").stdout


# --- probes ----------------------------------------------------------------------------------------------


def probe(found: dict[str, Any], path: str, seconds: float = 30) -> str:
    """The first line of what a probe is answered."""
    host, _, port = found["health"].rpartition(":")
    with socket.create_connection((host, int(port)), seconds) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return line.recv(4096).decode().partition("\r\n")[0]


def test_a_launch_whose_workers_run_is_ready_until_it_stands_still(launcher: Launcher) -> None:
    running = standing(launcher, "--health-port=127.0.0.1:0")
    found = in_state(running, "running")
    host, _, port = found["health"].rpartition(":")
    silent = [socket.create_connection((host, int(port)), 30) for _ in range(40)]
    assert [probe(found, path) for path in ("/livez", "/readyz")] == ["HTTP/1.1 200 OK"] * 2
    running.signal(signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        probe(found, "/livez", 1)
    running.signal(signal.SIGCONT)
    assert probe(found, "/livez") == "HTTP/1.1 200 OK"
    for line in silent:
        line.close()


def test_a_port_for_probes_that_is_taken_is_said_before_anything_starts(launcher: Launcher, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = launcher.run(f"--health-port=127.0.0.1:{port}", STAY, tmp_path, "die")
    assert (result.code, (tmp_path / "0").exists()) == (1, False)
    assert f"--health-port=127.0.0.1:{port}: Address already in use" in result.err
