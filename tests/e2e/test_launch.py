"""Scripts, programs and modules, launched by the command line and by `main`."""

from __future__ import annotations

import io
import re
import runpy
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from in_process import Distributions, InProcess
from launches import Launcher

BIN = Path(__file__).parent / "bin"
TOUCH_PY, TOUCH_SH, IS_LAUNCHED = BIN / "touch_rank.py", BIN / "touch_rank.sh", BIN / "is_launched.py"
FOUR = ["--nproc-per-node=4", "--monitor-interval=1", "--start-method=spawn"]


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """Where workers leave a file each."""
    folder = tmp_path / "touched"
    folder.mkdir()
    return folder


@pytest.fixture(params=["the shell", "main"])
def launch(request: pytest.FixtureRequest, launcher: Launcher, in_process: InProcess) -> Callable[..., None]:
    """Launches, from the shell and from inside a process, that are to succeed."""
    if request.param == "main":
        run: Callable[..., None] = in_process.main
        return run

    def shell(*args: object) -> None:
        result = launcher.run(*args)
        assert result.code == 0, result.err

    return shell


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- what can be launched --------------------------------------------------------------------------------


def test_four_workers_run_a_python_script(launch: Callable[..., None], touched: Path) -> None:
    launch("--nnodes=1", "--rdzv-id=310577", *FOUR, TOUCH_PY, f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}


def test_four_workers_meet_at_a_port_that_the_user_chose(
    launch: Callable[..., None], touched: Path, free_port: int
) -> None:
    place = ["--master-addr=localhost", f"--master-port={free_port}", "--node-rank=0"]
    launch("--nnodes=1", *FOUR, *place, TOUCH_PY, f"--touch_file_dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}


def test_four_workers_run_a_shell_script(launch: Callable[..., None], touched: Path) -> None:
    launch("--nnodes=1", *FOUR, "--no-python", TOUCH_SH, touched)
    assert names(touched) == {"0", "1", "2", "3"}


def test_one_worker_is_the_default(launch: Callable[..., None], touched: Path) -> None:
    launch("--nnodes=1", "--no-python", TOUCH_SH, touched)
    assert names(touched) == {"0"}


def test_a_module_is_run_by_its_name(
    launch: Callable[..., None], launcher: Launcher, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(BIN), prepend=":")
    launcher.add_to_path(BIN)
    launch("--nproc-per-node=2", "-m", "touch_rank", f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1"}


def test_a_standalone_job_needs_no_place_to_meet(launch: Callable[..., None], touched: Path) -> None:
    launch("--nnodes=1", "--standalone", *FOUR, TOUCH_PY, f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_script_runs_inside_the_workers_interpreter(launch: Callable[..., None], touched: Path, method: str) -> None:
    options = ["--run-path", "--nproc-per-node=4", "--monitor-interval=1", f"--start-method={method}"]
    launch(*options, TOUCH_PY, f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}


def test_python_exec_names_the_interpreter_of_scripts(launcher: Launcher, tmp_path: Path) -> None:
    said = tmp_path / "said"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {said}\n')
    python.chmod(0o755)
    assert launcher.run(TOUCH_PY, "a", env={"PYTHON_EXEC": str(python)}).code == 0
    assert said.read_text() == f"-u {TOUCH_PY} a\n"


def test_the_words_behind_the_script_are_never_options(launcher: Launcher, touched: Path) -> None:
    result = launcher.run(TOUCH_PY, f"--touch-file-dir={touched}", "--nproc-per-node=3", env={"OMP_NUM_THREADS": "1"})
    assert result.code == 1
    assert "unrecognized arguments: --nproc-per-node=3" in result.err
    assert names(touched) == set()


# --- settings from variables -----------------------------------------------------------------------------

PET = {
    "PET_NNODES": "1",
    "PET_NPROC_PER_NODE": "4",
    "PET_RDZV_ID": "310577",
    "PET_MONITOR_INTERVAL": "1",
    "PET_START_METHOD": "spawn",
    "PET_NO_PYTHON": "1",
}


def test_variables_set_what_flags_do(launcher: Launcher, touched: Path) -> None:
    result = launcher.run(TOUCH_SH, touched, env={**PET, "PET_MODULE": "0"})
    assert (result.code, names(touched)) == (0, {"0", "1", "2", "3"})


def test_a_flag_wins_over_its_variable(launcher: Launcher, touched: Path) -> None:
    result = launcher.run("--nproc-per-node=2", TOUCH_SH, touched, env=PET)
    assert (result.code, names(touched)) == (0, {"0", "1"})


def test_variables_are_read_at_each_call_of_main(
    in_process: InProcess, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in PET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PET_MODULE", "1")
    with pytest.raises(ValueError, match="--module and --no-python exclude each other"):
        in_process.main(TOUCH_SH, touched)
    assert names(touched) == set()
    monkeypatch.setenv("PET_MODULE", "0")
    in_process.main(TOUCH_SH, touched)
    assert names(touched) == {"0", "1", "2", "3"}


# --- whether a program was launched ----------------------------------------------------------------------


def test_a_worker_knows_that_it_was_launched(launch: Callable[..., None], tmp_path: Path) -> None:
    out = tmp_path / "out"
    launch("--run-path", "--nnodes=1", "--nproc-per-node=1", "--monitor-interval=1", IS_LAUNCHED, f"--out-file={out}")
    assert out.read_text() == "True"


def test_the_launching_process_was_not_launched(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process.main("--run-path", IS_LAUNCHED, f"--out-file={tmp_path / 'worker'}")
    monkeypatch.setattr(sys, "argv", [str(IS_LAUNCHED), f"--out-file={tmp_path / 'self'}"])
    runpy.run_path(str(IS_LAUNCHED), run_name="__main__")
    assert (tmp_path / "worker").read_text() == "True"
    assert (tmp_path / "self").read_text() == "False"


# --- where output goes -----------------------------------------------------------------------------------

LOGS_PLUGIN = """
from launcher_core import hookimpl
from launcher_core.launch import DefaultLogsSpecs


class Named(DefaultLogsSpecs):
    def reify(self, envs):
        with open({path!r}, "w") as file:
            file.write(f"{{self.root_log_dir}} {{sorted(envs)}}")
        return super().reify(envs)


@hookimpl
def launcher_make_logs_specs(config):
    return Named(config.log_dir, config.redirects, config.tee, config.local_ranks_filter)
"""


@pytest.mark.parametrize("flag", ["--logs-specs", "--logs_specs"])
def test_logs_specs_are_found_by_their_entry_point(
    launch: Callable[..., None], distributions: Distributions, tmp_path: Path, flag: str
) -> None:
    said, out = tmp_path / "said", tmp_path / "out"
    source = LOGS_PLUGIN.format(path=str(said))
    distributions.install("my-logs", "[launcher.logs_specs]\nnamed = my_logs\n", my_logs=source)
    launch("--run-path", f"{flag}=named", f"--log-dir={tmp_path / 'logs'}", IS_LAUNCHED, f"--out-file={out}")
    assert out.read_text() == "True"
    assert said.read_text() == f"{tmp_path / 'logs'} [0]"


def test_the_default_logs_specs_can_be_named(launch: Callable[..., None], tmp_path: Path) -> None:
    launch("--run-path", "--logs_specs=default", IS_LAUNCHED, f"--out-file={tmp_path / 'out'}")
    assert (tmp_path / "out").read_text() == "True"


def test_output_is_captured_with_a_prefix_for_each_rank(
    in_process: InProcess, touched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE", "[rank${rank}]: ")
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        in_process.main("--nnodes=1", "--redirect=3", "--tee=3", *FOUR, "--no-python", TOUCH_SH, touched)
    lines = {f"[rank{rank}]: creating {touched}/{rank}" for rank in range(4)}
    assert (set(out.getvalue().splitlines()), out.getvalue().count("\n")) == (lines, 4)
    threads, where = err.getvalue().splitlines()
    assert threads == "launcher: OMP_NUM_THREADS=1 for each of the 4 workers; set the variable to have more threads"
    assert re.fullmatch(r"launcher: output is in \S+/torchelastic_\w{8}; --log-dir chooses another place", where)
    assert names(touched) == {"0", "1", "2", "3"}


def test_output_that_is_tee_d_is_in_files_too(launcher: Launcher, touched: Path, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    options = ["--tee=0:1", "--redirects=1:1", f"--log-dir={logs}", "--rdzv-id=job", "--nproc-per-node=2"]
    result = launcher.run(*options, "--no-python", TOUCH_SH, touched)
    assert (result.code, result.out) == (0, f"[default0]:creating {touched}/0\n")
    (run,) = logs.iterdir()
    files = {str(path.relative_to(run)): path.read_text() for path in run.rglob("*.log")}
    assert files == {
        "attempt_0/0/stdout.log": f"creating {touched}/0\n",
        "attempt_0/1/stdout.log": f"creating {touched}/1\n",
    }
