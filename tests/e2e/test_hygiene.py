"""What a launch uses up, what it leaves as it was, and how it gets along with surroundings that are not as usual."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from in_process import Distributions, InProcess
from launches import Launcher, Running, until

from launcher_core.errors import ChildFailedError, SignalException, StartError

BIN = Path(__file__).parent / "bin"
COUNT, END, STAY = BIN / "count_agent.py", BIN / "end_as_told.py", BIN / "stay.py"
METHODS = ["exec", "spawn", "fork", "forkserver"]


def program(folder: Path, text: str) -> Path:
    """A new shell script."""
    path = folder / "worker.sh"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def by(method: str) -> list[str]:
    """The options for scripts that are started by this method."""
    return [] if method == "exec" else ["--run-path", f"--start-method={method}"]


# --- over many restarts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", [(), ("--tee=3",)], ids=["console", "tee"])
@pytest.mark.parametrize(("method", "restarts"), [("exec", 50), ("spawn", 10), ("fork", 10), ("forkserver", 10)])
def test_restarts_cost_no_descriptor_no_thread_and_no_process(
    launcher: Launcher, tmp_path: Path, method: str, restarts: int, output: tuple[str, ...]
) -> None:
    agent, counted = tmp_path / "agent", tmp_path / "counted"
    running = launcher.start(*by(method), f"--max-restarts={restarts}", *output, COUNT, agent, counted)
    write_at_once(agent, str(running.pid))
    result = running.wait()
    counts = counted.read_text().splitlines()
    assert (result.code, len(counts), set(counts[1:])) == (0, restarts + 1, {counts[1]}), result.err


def write_at_once(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


# --- inside another process ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_launch_that_succeeds_leaves_the_process_as_it_was(in_process: InProcess, method: str) -> None:
    in_process.main(*by(method), "--nproc-per-node=2", END, 0, 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_launch_whose_worker_fails_leaves_the_process_as_it_was(in_process: InProcess, method: str) -> None:
    with pytest.raises(ChildFailedError):
        in_process.main(*by(method), "--nproc-per-node=2", "--max-restarts=1", "--tee=3", END, "wait", 3)


@pytest.mark.parametrize(
    "words", [["--nnodes=3:2", END], ["--rdzv-backend=none", END], ["--nproc-per-node=x", END], ["missing.py"]]
)
def test_a_launch_that_makes_no_sense_leaves_the_process_as_it_was(in_process: InProcess, words: list[Any]) -> None:
    with pytest.raises(ValueError):
        in_process.main(*words)


def test_words_that_cannot_be_read_leave_the_process_as_it_was(in_process: InProcess) -> None:
    with pytest.raises(SystemExit):
        in_process.main("--no-such-option", END)


TOO_LARGE = """
from launcher_core import hookimpl

@hookimpl
def launcher_worker_env(worker):
    return {"LARGE": "x" * 10**7} if worker.local_rank == 2 else {}
"""


def test_a_start_that_fails_half_way_leaves_no_worker_and_the_process_as_it_was(
    in_process: InProcess, distributions: Distributions
) -> None:
    distributions.install("large", "[launcher.policies]\ntoo-large = too_large\n", too_large=TOO_LARGE)
    options = ["--policy=too-large", "--nproc-per-node=4", "--max-restarts=3", "--tee=3"]
    with pytest.raises(StartError, match="its arguments and environment are larger than the kernel allows"):
        in_process.main(*options, "--no-python", "/bin/sleep", 600)


def test_a_start_that_fails_half_way_is_said_in_one_line(launcher: Launcher, distributions: Distributions) -> None:
    distributions.install("large", "[launcher.policies]\ntoo-large = too_large\n", too_large=TOO_LARGE)
    env = {"OMP_NUM_THREADS": "1"}
    running = launcher.start("--policy=too-large", "--nproc-per-node=4", "--no-python", "/bin/sleep", 600, env=env)
    result = running.wait()
    said = "launcher: error: cannot start /bin/sleep: its arguments and environment are larger than the kernel allows\n"
    assert (result.code, result.out, result.err) == (1, "", said)


RAISES = """
from launcher_core import hookimpl

@hookimpl
def launcher_judge(failure):
    raise LookupError("the judge is not well")
"""


def test_a_plugin_that_raises_in_the_middle_leaves_no_worker_and_the_process_as_it_was(
    in_process: InProcess, distributions: Distributions
) -> None:
    distributions.install("raises", "[launcher.policies]\nraises = raises_in_judge\n", raises_in_judge=RAISES)
    with pytest.raises(LookupError, match="the judge is not well"):
        in_process.main("--policy=raises", "--nproc-per-node=3", END, "wait", 3, "wait")


def test_a_launch_that_a_signal_stops_leaves_the_process_as_it_was(in_process: InProcess, tmp_path: Path) -> None:
    script = program(tmp_path, 'kill -TERM "$PPID"; exec sleep 600\n')
    with pytest.raises(SignalException) as stopped:
        in_process.main("--nproc-per-node=2", "--no-python", script)
    assert stopped.value.sigval == signal.SIGTERM


def test_an_interrupt_that_the_launch_does_not_handle_is_the_processs_own(
    in_process: InProcess, tmp_path: Path
) -> None:
    script = program(tmp_path, 'kill -INT "$PPID"; kill -INT "$PPID"; exec sleep 600\n')
    with pytest.raises(KeyboardInterrupt):
        in_process.main("--signals-to-handle=SIGTERM", "--nproc-per-node=2", "--no-python", script)


# --- standard input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "readers"), [([], {"0"}), (["--stdin=0"], {"0"}), (["--stdin=1"], {"1"}), (["--stdin=none"], set())]
)
def test_standard_input_goes_to_one_worker_and_the_others_read_nothing(
    launcher: Launcher, tmp_path: Path, options: list[str], readers: set[str]
) -> None:
    script = program(tmp_path, f'cat >"{tmp_path}/read.$RANK"\n')
    given = tmp_path / "given"
    given.write_text("a line\nanother\n")
    with given.open() as stdin:
        running = launcher.start(*options, "--nproc-per-node=3", "--no-python", script, stdin=stdin)
        assert running.wait().code == 0
    read = {rank: (tmp_path / f"read.{rank}").read_text() for rank in "012"}
    assert read == {rank: "a line\nanother\n" if rank in readers else "" for rank in "012"}


def test_standard_input_of_all_is_one_and_the_same(launcher: Launcher, tmp_path: Path) -> None:
    script = program(tmp_path, f'readlink /proc/self/fd/0 >"{tmp_path}/read.$RANK"\n')
    given = tmp_path / "given"
    given.touch()
    with given.open() as stdin:
        running = launcher.start("--stdin=all", "--nproc-per-node=2", "--no-python", script, stdin=stdin)
        assert running.wait().code == 0
    assert {(tmp_path / f"read.{rank}").read_text() for rank in "01"} == {f"{given}\n"}


# --- standard streams that are missing, full or gone ---------------------------------------------------------


def shell(text: str) -> list[str]:
    """A wrapper that runs the launcher as `"$@"` of these shell commands."""
    return ["sh", "-c", text, "sh"]


SAYS = 'echo "out $RANK"; echo "err $RANK" >&2; ls -l /proc/self/fd >"{}/fds.$RANK"\n'


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "012"])
@pytest.mark.parametrize("options", [[], ["--tee=3"], ["--report-lines=0"]], ids=["console", "tee", "plain"])
def test_a_launcher_without_a_standard_stream_launches_all_the_same(
    launcher: Launcher, tmp_path: Path, closed: str, options: list[str]
) -> None:
    launcher.wrapper = shell('exec "$@" ' + " ".join(f"{fd}>&-" for fd in closed))
    script = program(tmp_path, SAYS.format(tmp_path))
    running = launcher.start(*options, "--nproc-per-node=2", "--no-python", script)
    result = running.wait()
    lines = [line.partition(":")[2] or line for line in (result.out + result.err).splitlines()]
    shown = sorted(line for line in lines if line[:4] in ("out ", "err "))
    expected = [f"{name} {rank}" for name, fd in (("err", "2"), ("out", "1")) for rank in "01" if fd not in closed]
    assert (result.code, shown) == (0, expected)
    assert "socket:" not in (tmp_path / "fds.0").read_text() + (tmp_path / "fds.1").read_text()


@pytest.mark.parametrize("question", ["--help", "--version", "--list-plugins", "--print-completion=bash"])
def test_an_answer_that_does_not_fit_is_an_error(launcher: Launcher, question: str) -> None:
    with open("/dev/full", "w") as full:
        result = launcher.start(question, stdout=full).wait()
    said = "launcher: error: the answer could not be written to stdout: No space left on device\n"
    assert (result.code, result.err) == (1, said)


@pytest.mark.parametrize("question", ["--help", "--list-plugins"])
def test_an_answer_that_nobody_reads_is_not_complained_about(launcher: Launcher, question: str) -> None:
    assert (launcher.start(question, stdout=broken_pipe()).wait().err) == ""


@pytest.mark.parametrize("where", ["full", "broken"])
def test_output_that_cannot_be_shown_does_not_disturb_the_job(launcher: Launcher, tmp_path: Path, where: str) -> None:
    script = program(tmp_path, "i=0; while [ $i -lt 2000 ]; do echo line $i; echo line $i >&2; i=$((i+1)); done\n")
    out = os.open("/dev/full", os.O_WRONLY) if where == "full" else broken_pipe()
    running = launcher.start("--tee=3", f"--log-dir={tmp_path / 'logs'}", "--no-python", script, stdout=out, stderr=out)
    os.close(out)
    assert running.wait().code == 0
    files = [path.read_text() for path in (tmp_path / "logs").rglob("std*.log")]
    assert files == ["".join(f"line {number}\n" for number in range(2000))] * 2


def test_a_failure_whose_report_cannot_be_shown_is_still_a_failure(launcher: Launcher) -> None:
    with open("/dev/full", "w") as full:
        assert launcher.start("--exit-code=worker", END, 3, stdout=full, stderr=full).wait().code == 3


def broken_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


# --- what the launcher inherits ----------------------------------------------------------------------------


def test_a_launcher_that_was_told_to_ignore_children_knows_how_they_end(launcher: Launcher) -> None:
    launcher.wrapper = shell("trap '' CHLD; exec \"$@\"")
    assert launcher.run("--exit-code=worker", "--nproc-per-node=2", END, 0, 7).code == 7


def test_a_host_that_ignores_children_is_left_so(in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        in_process.main("--nproc-per-node=2", END, 0, 0)
    finally:
        signal.signal(signal.SIGCHLD, before)


BLOCKING = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execvp(sys.argv[1], sys.argv[1:])
"""


INTERNAL = 1 << 31 | 1 << 32
"""Signals 32 and 33, which the C library keeps to itself, and ignores in what it spawns."""


def test_a_launcher_with_all_signals_blocked_is_stopped_by_them(launcher: Launcher, tmp_path: Path) -> None:
    launcher.wrapper = [sys.executable, "-c", BLOCKING]
    script = program(tmp_path, f'grep -E "^Sig(Blk|Ign)" /proc/self/status >{tmp_path}/mask.new\n'
                               f"mv {tmp_path}/mask.new {tmp_path}/mask; exec sleep 600\n")  # fmt: skip
    running = launcher.start("--no-python", script)
    until((tmp_path / "mask").exists, "the worker is there")
    running.signal(signal.SIGTERM)
    assert running.wait(10).code == 143
    masks = [int(word, 16) for word in (tmp_path / "mask").read_text().split()[1::2]]
    assert [mask & ~INTERNAL for mask in masks] == [0, 0]


def test_a_launcher_under_nohup_outlives_its_terminal(launcher: Launcher, tmp_path: Path) -> None:
    launcher.wrapper = shell("trap '' HUP; exec \"$@\"")
    running = launcher.start("--nproc-per-node=2", STAY, tmp_path, "die")
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), "both workers are there")
    running.signal(signal.SIGHUP)
    running.signal(signal.SIGTERM)
    result = running.wait(10)
    assert (result.code, "SIGHUP" in result.err) == (143, False)


@pytest.mark.parametrize("limit", [32, 48])
def test_a_limit_on_open_files_that_is_too_low_is_named(launcher: Launcher, limit: int) -> None:
    launcher.wrapper = shell(f'ulimit -n {limit}; exec "$@"')
    result = launcher.run("--nproc-per-node=16", END, *["wait"] * 16, env={"OMP_NUM_THREADS": "1"})
    said = f"launcher: error: {limit} open files are too few for this launch; raise the limit, see `ulimit -n`\n"
    assert (result.code, result.out, result.err) == (1, "", said)


def test_a_launcher_whose_working_directory_is_gone_launches_all_the_same(launcher: Launcher) -> None:
    launcher.wrapper = shell('mkdir gone && cd gone && rmdir ../gone && exec "$@"')
    result = launcher.run("--nproc-per-node=2", END, 0, 0, env={"OMP_NUM_THREADS": "1"})
    assert (result.code, result.out, result.err) == (0, "", "")


# --- as number 1 of a container ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, code",
    [
        (["train.py"], 2),
        (["--log-dir=logs", "--redirects=3", "--no-python", "true"], 2),
        (["--event-log-handler=jsonl=events", "--no-python", "true"], 2),
        (["--no-python", "./train"], 2),
        (["--run-path", str(END), "0"], 1),
    ],
)
def test_what_needs_a_working_directory_that_is_gone_is_told_so(
    launcher: Launcher, words: list[str], code: int
) -> None:
    launcher.wrapper = shell('mkdir gone && cd gone && rmdir ../gone && exec "$@"')

    result = launcher.run(*words)

    assert (result.code, result.out) == (code, "")
    assert result.err.startswith("launcher: error: ") and result.err.count("\n") == 1
    assert "o such " in result.err
    assert result.err.endswith(
        "; the current directory has been removed: change to one that exists, also if there is a new one of its name\n"
    )


def number_one(running: Running) -> int:
    """The launcher in its container, as it is called outside."""
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    return int(str(until(children.read_text, "the container is there")))


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", ["die", "exit"])
def test_number_1_of_a_container_is_stopped_by_signals(
    container: Launcher, tmp_path: Path, signum: signal.Signals, how: str
) -> None:
    running = container.start("--nproc-per-node=2", STAY, tmp_path, how)
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), "both workers are there")
    os.kill(number_one(running), signum)
    result = running.wait(10)
    assert result.code == 128 + signum
    assert result.err.count(f"launcher: {signum.name}; passing it on") == 1


def test_number_1_of_a_container_is_stopped_before_it_is_ready(container: Launcher, tmp_path: Path) -> None:
    running = container.start("--nnodes=2", "--master-port=0", STAY, tmp_path, "die")
    until(lambda: len(descendants(number_one(running))) >= 2, "the launcher is on its way")
    os.kill(number_one(running), signal.SIGTERM)
    assert running.wait(10).code == 143


def descendants(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for file in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += map(int, file.read_text().split())
    return found


ORPHANS = """
(sleep 0.01 & sleep 0.01 & setsid sleep 0.01 &)
sleep 0.05
try=0
while grep -l "^State:.Z" /proc/[0-9]*/status; do
    try=$((try + 1)); [ $try -gt 200 ] && exit 9
    sleep 0.02
done
exit 4
"""


def test_number_1_of_a_container_buries_orphans(container: Launcher, tmp_path: Path) -> None:
    result = container.run("--exit-code=worker", "--no-python", program(tmp_path, ORPHANS))
    assert result.code == 4, result.out


def test_number_1_of_a_container_keeps_its_exit_code(container: Launcher) -> None:
    codes = [container.run("--exit-code=worker", END, how).code for how in ("0", "5", "-9")]
    assert codes == [0, 5, 137]
