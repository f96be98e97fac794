"""The report on a failed job: the right worker, what it died of, and nothing else."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, Result

Script = Callable[..., Path]
QUIET = {"OMP_NUM_THREADS": "1"}
RECORDED = "from launcher_core import record\n@record\ndef main():\n    {}\nmain()\n"


def report(result: Result, script: Path) -> str:
    """The report, which is the last that is said; what workers wrote to stderr is before it."""
    assert result.code == 1
    title = f"{script} FAILED: "
    assert title in result.err, result.err
    return result.err[result.err.index(title) :]


# --- who is to blame -------------------------------------------------------------------------------------


def test_the_worker_that_failed_first_is_blamed_though_a_later_one_says_more(
    launcher: Launcher, script: Script
) -> None:
    """Rank 1 leaves no record at all; rank 0 records an exception in answer to it, before anybody looked."""
    worker = script(
        "if rank == '1': os._exit(66)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while os.path.exists(f'/proc/{os.getppid()}') and not (here / 'late').exists():\n"
        "    select.select([], [], [], 0.3)\n    leave('late')\n"
        + RECORDED.format("raise ConnectionError('rank 1 is gone')")
    )
    result = launcher.run("--nproc-per-node=2", "--monitor-interval=8", "--exit-code=worker", worker, env=QUIET)
    assert result.code == 66
    assert f"{worker} FAILED: rank 1 on {socket.gethostname()} ended with exit code 66\n" in result.err


def test_an_exception_that_was_handled_is_no_cause(launcher: Launcher, script: Script) -> None:
    worker = script(
        "import traceback\ntry:\n    raise ValueError('handled')\nexcept ValueError:\n    traceback.print_exc()\n"
        "sys.exit(5)\n"
    )
    text = report(launcher.run(worker, env=QUIET), worker)
    assert text.startswith(f"{worker} FAILED: rank 0 on {socket.gethostname()} ended with exit code 5\n")
    assert "which it may have handled, is ValueError: handled\n" in text


def test_a_module_that_does_not_exist_is_named_as_the_cause(launcher: Launcher) -> None:
    result = launcher.run("-m", "no.such.module", env=QUIET)
    assert result.code == 1
    assert "  cause    exit code 1: Python found nothing to run: Error while finding module" in result.err


def test_a_stale_record_of_a_healthy_worker_is_not_believed(launcher: Launcher, script: Script) -> None:
    stale = json.dumps({"message": {"message": "OldError: x", "extraInfo": {"py_callstack": "", "timestamp": "1000"}}})
    worker = script(
        "if rank == '0':\n"
        f"    open(os.environ['TORCHELASTIC_ERROR_FILE'], 'w').write({stale!r})\n"
        "    leave('written'); stay()\n"
        "until('written')\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    text = report(launcher.run("--nproc-per-node=2", worker, env=QUIET), worker)
    assert text.startswith(f"{worker} FAILED: rank 1 on {socket.gethostname()} was ended by SIGSEGV\n")
    assert "OldError" not in text


@pytest.mark.parametrize("how", [[], ["--run-path", "--start-method=fork"]], ids=["commands", "functions"])
def test_workers_that_the_launcher_stopped_take_one_line(launcher: Launcher, script: Script, how: list[str]) -> None:
    worker = script(
        "leave(rank)\nif rank == '5':\n    for other in '01234567': until(other)\n    sys.exit(3)\nstay()\n"
    )
    text = report(launcher.run("--nproc-per-node=8", *how, worker, env=QUIET), worker)
    assert "\n  stopped by the launcher: ranks 0-4, 6-7" in text
    assert "SIGTERM" not in text
    assert len(text.splitlines()) < 12


# --- what it died of -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [[], ["--run-path"]])
def test_an_exception_is_shown_though_the_script_knows_of_no_launcher(
    launcher: Launcher, script: Script, how: list[str]
) -> None:
    worker = script("def load(shard):\n    raise LookupError(f'no shard {shard}')\n\nload(7)\n")
    text = report(launcher.run(*how, worker), worker)
    line = worker.read_text().splitlines().index("    raise LookupError(f'no shard {shard}')") + 1
    assert text.startswith(
        f"{worker} FAILED: rank 0 on {socket.gethostname()} raised LookupError\n"
        "\n"
        "  cause    LookupError: no shard 7\n"
        f"  where    {worker}:{line} in load\n"
        "               raise LookupError(f'no shard {shard}')\n"
    )
    assert "To enable traceback" not in text


def test_a_full_disk_is_told_where_nothing_else_is_known(launcher: Launcher, script: Script, small_disk: Path) -> None:
    worker = script("sys.stdout.write('x' * 100_000)\nsys.stdout.flush()\nraise ValueError('lost')\n")
    text = report(launcher.run("--redirects=3", f"--log-dir={small_disk}", worker), worker)
    assert re.search(rf"\n  note     no space is left for {small_disk}/.*/0/stdout.log; what it said last may be", text)


@pytest.mark.parametrize("how", [[], ["--run-path"]])
def test_a_script_that_is_no_python_is_told_without_the_launchers_own_code(
    launcher: Launcher, script: Script, how: list[str]
) -> None:
    worker = script("def load(shard:\n    pass\n")
    result = launcher.run(*how, worker, env=QUIET)
    text = report(result, worker)
    line = worker.read_text().splitlines().index("def load(shard:") + 1
    assert f"\n  where    {worker}:{line}\n               def load(shard:\n" in text
    assert result.err.startswith(f'  File "{worker}", line {line}\n')
    assert "Traceback" not in result.err


def test_the_end_of_stderr_is_shown_of_a_program_that_is_not_python(launcher: Launcher, tmp_path: Path) -> None:
    program = tmp_path / "solver.sh"
    program.write_text('#!/bin/sh\necho "residual 1e9" >&2\necho "diverged at step 3" >&2\nexit 7\n')
    program.chmod(0o755)
    text = report(launcher.run("--no-python", program), program)
    assert "\n  end of its stderr\n    residual 1e9\n    diverged at step 3" in text


def test_no_traceback_but_the_workers_own_is_shown(launcher: Launcher, script: Script) -> None:
    worker = script("raise ValueError('mine')\n")
    result = launcher.run("--nproc-per-node=2", worker, env=QUIET)
    report(result, worker)
    files = set(re.findall(r'File "([^"]+)"', result.err))
    assert files == {str(worker)}


def test_a_recorded_failure_says_nothing_about_the_launchers_own_error_file(launcher: Launcher, script: Script) -> None:
    worker = script(RECORDED.format("raise ValueError('mine')"))
    result = launcher.run(worker)
    report(result, worker)
    assert "error file defined" not in result.err
    assert result.err.count("ValueError: mine") == 3  # the worker's own, the cause, the traceback


def test_why_a_failure_was_not_retried_is_said(launcher: Launcher, script: Script) -> None:
    worker = script("sys.exit(3)")
    assert "\n  restarts none: --max-restarts is 0\n" in report(launcher.run(worker), worker)
    text = report(launcher.run("--max-restarts=2", worker), worker)
    assert "\n  restarts 2 of 2 spent: --max-restarts allows no more\n" in text


def test_the_title_is_the_script_whatever_runs_it(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    worker = script("sys.exit(3)")
    python = tmp_path / "my-python"
    python.write_text('#!/bin/sh\nexec python3 "$@"\n')
    python.chmod(0o755)
    report(launcher.run(worker, env={"PYTHON_EXEC": str(python)}), worker)
    report(launcher.run("--run-path", worker), worker)


def test_errors_of_the_launch_itself_say_what_to_do(launcher: Launcher, script: Script, free_port: int) -> None:
    worker = script("")
    alone = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--rdzv-id=job"]
    result = launcher.run(*alone, "--rdzv-conf=join_timeout=0.5", worker)
    assert (result.code, result.err) == (
        1,
        "launcher: error: no round formed within 0.5 s (--rdzv-conf join_timeout): too few nodes came (--nnodes)\n",
    )
