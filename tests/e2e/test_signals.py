"""Signals to the launcher: the workers get the same one, once; another one means now; and 128 + N is the exit code."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from in_process import InProcess
from launches import Launcher, until
from terminals import Terminal

from launcher_core.errors import SignalException

BIN = Path(__file__).parent / "bin"
COUNT, END = BIN / "count_signals.py", BIN / "end_as_told.py"
USUAL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT]
METHODS = ["exec", "spawn", "fork", "forkserver"]


def by(method: str) -> list[str]:
    """The options for scripts that are started by this method."""
    return [] if method == "exec" else ["--run-path", f"--start-method={method}"]


@pytest.fixture
def got(tmp_path: Path) -> Path:
    """Where workers write down the signals they get."""
    folder = tmp_path / "got"
    folder.mkdir()
    return folder


def all_there(folder: Path, count: int = 2) -> None:
    until(lambda: len(list(folder.iterdir())) == count, f"{count} workers are there")


def heard(folder: Path) -> list[str]:
    """What each worker got, in the order of their ranks."""
    return [path.read_text() for path in sorted(folder.iterdir())]


# --- the signal goes to the workers ----------------------------------------------------------------------


@pytest.mark.parametrize("signum", USUAL)
def test_workers_get_the_signal_that_the_launcher_gets(launcher: Launcher, got: Path, signum: signal.Signals) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "exit")
    all_there(got)
    running.signal(signum)
    result = running.wait(10)
    assert (result.code, heard(got)) == (128 + signum, [f"{signum.name}\n"] * 2)
    assert " FAILED: " not in result.err


def test_a_worker_that_is_stopped_ends_too_and_nobody_waits_for_its_grace(launcher: Launcher, got: Path) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "exit")
    all_there(got)
    for pid in launcher.leftovers():
        if b"count_signals" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGSTOP)
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == 128 + signal.SIGTERM
    assert heard(got) == ["SIGTERM\n"] * 2


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_every_start_method_get_it_once(launcher: Launcher, got: Path, method: str) -> None:
    running = launcher.start(*by(method), "--nproc-per-node=2", "--shutdown-timeout=0.3", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGINT)
    assert (running.wait(10).code, heard(got)) == (130, ["SIGINT\n"] * 2)


@pytest.mark.parametrize(
    ("names", "signum"),
    [
        ("USR1", signal.SIGUSR1),
        ("sigusr1,SIGTERM", signal.SIGUSR1),
        ("TERM,USR2", signal.SIGUSR2),
        ("ALRM", signal.SIGALRM),
    ],
)
def test_signals_of_ones_own_choice_are_passed_on(
    launcher: Launcher, got: Path, names: str, signum: signal.Signals
) -> None:
    running = launcher.start(f"--signals-to-handle={names}", "--nproc-per-node=2", COUNT, got, "exit", signum.name)
    all_there(got)
    running.signal(signum)
    assert (running.wait(10).code, heard(got)) == (128 + signum, [f"{signum.name}\n"] * 2)


def test_a_signal_that_is_left_out_of_the_list_kills_the_launcher_and_the_workers_hear_nothing_of_it(
    launcher: Launcher, got: Path
) -> None:
    running = launcher.start("--signals-to-handle=SIGUSR1", "--nproc-per-node=2", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == -signal.SIGTERM
    launcher.assert_nothing_is_left()
    assert heard(got) == ["", ""]


def test_a_worker_that_has_ended_well_does_not_change_the_code(launcher: Launcher, got: Path) -> None:
    script = program(got.parent, f'[ "$RANK" = 0 ] && exec {sys.executable} {COUNT} {got} exit\n{LEAVES_ITS_PID}')
    running = launcher.start("--nproc-per-node=2", "--no-python", script)
    all_there(got, 1)
    until(lambda: has_ended(got.parent / "pid"), "one worker has ended")
    running.signal(signal.SIGTERM)
    result = running.wait(10)
    assert (result.code, heard(got), " FAILED: " in result.err) == (143, ["SIGTERM\n"], False)


LEAVES_ITS_PID = 'cd "${0%/*}"; echo $$ >pid.new; mv pid.new pid\n'


def has_ended(file: Path) -> bool:
    """Whether the process whose pid is in the file has come and gone; it may be a zombie."""
    return file.exists() and state(int(file.read_text())) in "ZX"


def is_swept(file: Path) -> bool:
    """Whether it is no zombie either, as when its whole group has succeeded."""
    return file.exists() and not state(int(file.read_text()))


def state(pid: int) -> str:
    """The letter that the system gives it; "" when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def program(folder: Path, text: str) -> Path:
    """A new shell script."""
    path = folder / "worker.sh"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


# --- and another one means now ---------------------------------------------------------------------------


@pytest.mark.parametrize("second", USUAL)
def test_a_second_signal_of_any_kind_kills_at_once_and_the_first_is_the_code(
    launcher: Launcher, got: Path, second: signal.Signals
) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "stay")
    all_there(got)
    running.signal(signal.SIGTERM)
    until(lambda: heard(got) == ["SIGTERM\n"] * 2, "the workers got the first")
    running.signal(second)
    result = running.wait(3)
    assert (result.code, heard(got)) == (143, ["SIGTERM\n"] * 2)
    assert f"launcher: {second.name} again; killing the workers\n" in result.err


def test_a_signal_while_a_failed_group_is_stopped_kills_nobody_yet(launcher: Launcher, got: Path) -> None:
    stays = f'[ "$RANK" = 1 ] && exec {sys.executable} {COUNT} {got} stay\n'
    script = program(got.parent, f"{stays}while [ ! -e {got}/1 ]; do sleep 0.01; done\nexit 3\n")
    running = launcher.start("--nproc-per-node=2", "--no-python", script)
    until(lambda: heard(got) == ["SIGTERM\n"], "the worker that did not fail is asked to stop")
    running.signal(signal.SIGINT)
    until(lambda: heard(got) == ["SIGTERM\nSIGINT\n"], "the worker gets the signal")
    running.signal(signal.SIGINT)
    result = running.wait(3)
    assert (result.code, heard(got)) == (130, ["SIGTERM\nSIGINT\n"])


def test_a_signal_while_the_others_are_told_ends_the_launch_without_telling_them(
    launcher: Launcher, got: Path, free_port: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--nproc-per-node=1"]
    leaves_its_pid = program(got.parent, LEAVES_ITS_PID + "exec sleep 600\n")
    host = launcher.start(*options, "--node-rank=0", "--no-python", leaves_its_pid)
    guest = launcher.start(*options, "--node-rank=1", COUNT, got, "exit")
    all_there(got, 1)
    until((got.parent / "pid").exists, "the worker of the host is there")
    guest.signal(signal.SIGSTOP)
    host.signal(signal.SIGTERM)
    until(lambda: is_swept(got.parent / "pid"), "the host has no worker any more")
    host.signal(signal.SIGTERM)
    assert host.wait(3).code in (143, -signal.SIGTERM)
    guest.signal(signal.SIGCONT)
    assert guest.wait(10).code == 1


def test_a_signal_while_nobody_reads_the_output_ends_the_launch(launcher: Launcher, got: Path) -> None:
    reading, writing = os.pipe()
    running = launcher.start("--tee=1", "--no-python", program(got.parent, f"{LEAVES_ITS_PID}yes\n"), stdout=writing)
    os.close(writing)
    with open(reading, "rb", buffering=0) as output:
        assert output.read(1)
        until(lambda: len(list(got.parent.rglob("stdout.log"))) == 1, "the worker has its file")
        (log,) = got.parent.rglob("stdout.log")
        until(lambda: log.stat().st_size > 2**20, "more was written than the pipe holds")
        running.signal(signal.SIGTERM)
        until(lambda: is_swept(got.parent / "pid"), "there is no worker any more")
        running.signal(signal.SIGTERM)
        assert running.wait(3).code in (143, -signal.SIGTERM)


# --- while there are no workers --------------------------------------------------------------------------


@pytest.mark.parametrize("signum", USUAL)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_before_all_nodes_are_there_ends_the_launch_at_once(
    launcher: Launcher, free_port: int, rank: int, signum: signal.Signals
) -> None:
    options = ["--nnodes=2", f"--node-rank={rank}", f"--master-port={free_port}"]
    running = launcher.start(*options, END, "wait", "wait")
    until(lambda: handles(running.pid, signum), "the launcher handles the signal")
    running.signal(signum)
    result = running.wait(3)
    assert (result.code, result.out, " FAILED: " in result.err) == (128 + signum, "", False)


def handles(pid: int, signum: int) -> bool:
    """Whether the process has a handler for the signal, in Python's way: an interrupt always has one at first."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = int(next(line for line in lines if line.startswith("SigCgt:")).split()[1], 16)
    return all(caught >> one - 1 & 1 for one in (signum, signal.SIGTERM))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_at_the_exit_barrier_ends_this_node_at_once(
    launcher: Launcher, got: Path, free_port: int, rank: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--shutdown-timeout=1"]
    late = launcher.start(*options, f"--node-rank={1 - rank}", COUNT, got, "exit")
    early = launcher.start(*options, f"--node-rank={rank}", "--no-python", program(got.parent, LEAVES_ITS_PID))
    all_there(got, 1)
    until(lambda: is_swept(got.parent / "pid"), "the worker of this node has succeeded")
    early.signal(signal.SIGTERM)
    result = early.wait(5)
    assert (result.code, " FAILED: " in result.err) == (143, False)
    if rank == 1:  # without its host a job is over; without a guest that had succeeded it is not
        late.signal(signal.SIGTERM)
    assert late.wait(10).code == (143 if rank == 1 else 1)


# --- in a process that is not the launcher's own -------------------------------------------------------------

IN_A_THREAD = """
import signal, sys, threading
from launcher_core import LaunchConfig, elastic_launch

def got(signum, frame):
    print("the host got", signal.Signals(signum).name, flush=True)

if "{handler}" == "own":
    signal.signal(signal.SIGTERM, got)

def launch():
    try:
        elastic_launch(LaunchConfig(1, 1, 2, run_id="job"), sys.executable)({count!r}, {folder!r}, "exit")
    except BaseException as error:
        print(type(error).__name__)

if __name__ == "__main__":
    thread = threading.Thread(target=launch)
    thread.start()
    thread.join()
"""


@pytest.mark.parametrize("handler", ["own", "default"])
def test_in_a_thread_a_signal_is_the_hosts_own_matter(launcher: Launcher, got: Path, handler: str) -> None:
    host = got.parent / "host.py"
    host.write_text(IN_A_THREAD.format(handler=handler, count=str(COUNT), folder=str(got)))
    launcher.wrapper = [sys.executable, str(host)]
    running = launcher.start()
    all_there(got)
    running.signal(signal.SIGTERM)
    if handler == "default":
        assert running.wait(10).code == -signal.SIGTERM
        launcher.assert_nothing_is_left()
        assert heard(got) == ["", ""]
        return
    until(lambda: running.out, "the host has handled the signal")
    assert (running.out, heard(got)) == ("the host got SIGTERM\n", ["", ""])
    for pid in launcher.leftovers():
        if os.fsencode(COUNT) in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGINT)
    assert running.wait(10).code == 0


def test_a_host_has_its_own_handlers_back_after_a_signal(in_process: InProcess, tmp_path: Path) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: got.append(signum))
    try:
        with pytest.raises(SignalException):
            in_process.main("--no-python", program(tmp_path, 'kill -TERM "$PPID"; exec sleep 600\n'))
        assert got == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert got == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_hosts_other_signals_reach_it_during_a_launch(in_process: InProcess, tmp_path: Path) -> None:
    got: list[int] = []
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.signal(signal.SIGUSR2, lambda signum, frame: got.append(signum))
    wakeup_before = signal.set_wakeup_fd(writing)
    try:
        in_process.main("--no-python", program(tmp_path, 'kill -USR2 "$PPID"\n'))
        assert (got, os.read(reading, 10)) == ([signal.SIGUSR2], bytes([signal.SIGUSR2]))
    finally:
        signal.set_wakeup_fd(wakeup_before)
        signal.signal(signal.SIGUSR2, before)
        os.close(reading)
        os.close(writing)


# --- at a terminal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "signum"), [(b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT)])
def test_a_key_of_the_terminal_reaches_the_workers_once_and_by_the_launcher(
    launcher: Launcher, terminal: Terminal, got: Path, key: bytes, signum: signal.Signals
) -> None:
    running = launcher.start("--nproc-per-node=2", "--shutdown-timeout=0.5", COUNT, got, "stay", **terminal.give())
    all_there(got)
    workers = [pid for pid in launcher.leftovers() if os.fsencode(COUNT) in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert [controlling_terminal(pid) for pid in workers] == [0, 0]
    terminal.type(key)
    until(lambda: f"launcher: {signum.name}; passing it on" in terminal.look(), "the launcher got the key")
    assert (running.wait(10).code, heard(got)) == (128 + signum, [f"{signum.name}\n"] * 2)


def test_a_key_of_the_terminal_of_a_container_reaches_the_workers_once(
    container: Launcher, terminal: Terminal, got: Path
) -> None:
    options = ["--nproc-per-node=2", "--shutdown-timeout=0.5"]
    running = container.start(*options, COUNT, got, "stay", **terminal.give())
    all_there(got)
    terminal.type(b"\x03")
    assert (running.wait(10).code, heard(got)) == (130, ["SIGINT\n"] * 2)
    assert terminal.look().count("launcher: SIGINT; passing it on") == 1


def test_the_key_pressed_twice_ends_everything_at_once(launcher: Launcher, terminal: Terminal, got: Path) -> None:
    running = launcher.start("--nproc-per-node=2", COUNT, got, "stay", **terminal.give())
    all_there(got)
    terminal.type(b"\x03")
    until(lambda: heard(got) == ["SIGINT\n"] * 2, "the workers got the first")
    terminal.type(b"\x03")
    assert (running.wait(3).code, heard(got)) == (130, ["SIGINT\n"] * 2)


def test_a_terminal_that_hangs_up_ends_the_launch(launcher: Launcher, got: Path) -> None:
    terminal = Terminal()
    try:
        running = launcher.start("--nproc-per-node=2", COUNT, got, "exit", **terminal.give())
        all_there(got)
    finally:
        terminal.close()
    assert (running.wait(10).code, heard(got)) == (129, ["SIGHUP\n"] * 2)


def controlling_terminal(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4])


SEES = """
import os, sys
size = os.get_terminal_size(2) if os.isatty(2) else None
print(os.environ["RANK"], [os.isatty(fd) for fd in range(3)], size and tuple(size), flush=True)
print("typed", sys.stdin.readline().strip(), flush=True)
"""


@pytest.mark.parametrize(
    ("options", "sees"),
    [([], "[True, True, True] (77, 33)"), (["--report-lines=0"], "[True, True, True] (77, 33)"),
     (["--redirects=2"], "[True, True, False] None")],
)  # fmt: skip
def test_a_worker_sees_the_terminal_that_the_launcher_has(
    launcher: Launcher, terminal: Terminal, tmp_path: Path, options: list[str], sees: str
) -> None:
    script = tmp_path / "sees.py"
    script.write_text(SEES)
    running = launcher.start(*options, "--nproc-per-node=1", script, **terminal.give())
    until(lambda: f"0 {sees}" in terminal.look(), f"the worker sees {sees}")
    terminal.type(b"by hand\n")
    until(lambda: "typed by hand" in terminal.look(), "the worker reads what is typed")
    assert running.wait(10).code == 0
