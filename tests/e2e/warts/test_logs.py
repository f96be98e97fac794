"""Output: it shows while it is written, whole and unaltered, and its files are where one looks for them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, Running, temporary, until

Script = Callable[..., Path]
QUIET = {"OMP_NUM_THREADS": "1"}
"""Without it several workers would be told of their threads."""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def logs(folder: Path) -> dict[str, str]:
    """Every log below the folder, named from its attempt on."""
    return {"/".join(path.parts[path.parts.index("attempt_0") :]): path.read_text() for path in folder.rglob("*.log")}


def through_a_pipe(launcher: Launcher, *args: object) -> Running:
    """A launch whose stdout is a pipe, as in `launcher ... | cat`."""
    return launcher.start(*args, stdout=subprocess.PIPE, env=QUIET)


# --- on the console --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tee", [[], ["--tee=3"]])
@pytest.mark.parametrize("how", [[], ["--run-path"]])
def test_lines_show_while_the_job_runs_when_stdout_is_a_pipe(
    launcher: Launcher, script: Script, here: Path, tee: list[str], how: list[str]
) -> None:
    running = through_a_pipe(launcher, *tee, *how, script("print('epoch 1')\nuntil('seen')\nprint('epoch 2')\n"))
    prefix = b"[default0]:" if tee else b""
    assert running.process.stdout.readline() == prefix + b"epoch 1\n"
    (here / "seen").touch()
    assert running.process.stdout.read() == prefix + b"epoch 2\n"
    running.process.stdout.close()
    assert running.wait(20).code == 0


def test_a_line_that_is_written_in_pieces_is_shown_once_and_whole(launcher: Launcher, script: Script) -> None:
    worker = script(
        "text = 'grüße ☃ and the rest of the line'.encode()\n"
        "for number in range(len(text)):\n"
        "    os.write(1, text[number:number + 1])\n"
        "    select.select([], [], [], 0.005)\n"
        "os.write(1, b'\\n')\n"
        "os.write(1, b'without a newline')\n"
    )
    result = launcher.run("--tee=1", "--nproc-per-node=3", "--log-dir=logs", worker, env=QUIET)
    expected = [
        f"[default{rank}]:{text}"
        for rank in range(3)
        for text in ("grüße ☃ and the rest of the line", "without a newline")
    ]
    assert (result.code, sorted(result.out.splitlines()), result.err) == (0, sorted(expected), "")


def test_a_progress_bar_does_not_become_a_line_for_each_of_its_states(launcher: Launcher, script: Script) -> None:
    worker = script(
        "for done in range(200):\n    os.write(2, b'\\r%3d %%' % done)\n    select.select([], [], [], 0.001)\n"
        "os.write(2, b'\\ndone\\n')\n"
    )
    result = launcher.run("--tee=2", "--log-dir=logs", worker)
    lines = result.err.splitlines()
    assert result.code == 0
    assert lines[-2:] == ["[default0]:199 %", "[default0]:done"]
    assert len(lines) < 20


def test_the_last_lines_of_a_killed_worker_are_shown(launcher: Launcher, script: Script) -> None:
    worker = script(
        "os.write(1, b''.join(b'line %d\\n' % number for number in range(5000)))\nos.kill(os.getpid(), 9)\n"
    )
    result = launcher.run("--tee=1", "--log-dir=logs", worker)
    assert result.code == 1
    assert result.out.splitlines() == [f"[default0]:line {number}" for number in range(5000)]


def test_a_reader_that_goes_away_harms_neither_the_job_nor_its_files(
    launcher: Launcher, script: Script, tmp_path: Path
) -> None:
    worker = script("for number in range(20000): print('line', number)\n")
    running = through_a_pipe(launcher, "--tee=1", f"--log-dir={tmp_path / 'logs'}", worker)
    assert running.process.stdout.readline() == b"[default0]:line 0\n"
    running.process.stdout.close()
    result = running.wait(20)
    assert (result.code, result.err) == (0, "")
    assert len(logs(tmp_path / "logs")["attempt_0/0/stdout.log"].splitlines()) == 20000


def test_following_many_files_takes_one_thread_and_no_polling(launcher: Launcher, script: Script, here: Path) -> None:
    worker = script("leave('begin' + rank)\nselect.select([], [], [], 1.0)\nleave('end' + rank)\nuntil('go')\n")
    filters = ["--duplicate-stdout-filters=error", "--duplicate-stderr-filters=error"]
    running = launcher.start("--tee=3", *filters, "--log-dir=logs", "--nproc-per-node=8", worker, env=QUIET)
    until(lambda: {f"begin{rank}" for rank in range(8)} <= names(here), "the workers are there")
    threads, before = state(running)
    until(lambda: "end0" in names(here), "a second is over")
    _, after = state(running)
    (here / "go").touch()
    assert running.wait(20).code == 0
    assert threads <= 4  # its own, the output's, the rendezvous' two
    assert after - before < 60


def state(running: Running) -> tuple[int, int]:
    """(threads, how often they have been woken up) of a launcher."""
    tasks = [path.read_text() for path in Path(f"/proc/{running.pid}/task").glob("*/status")]
    switches = [int(line.split()[1]) for text in tasks for line in text.splitlines() if line.startswith("voluntary")]
    return len(tasks), sum(switches)


# --- files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "raise LookupError('no such shard')\n"])
def test_a_worker_may_change_its_directory(launcher: Launcher, script: Script, tmp_path: Path, end: str) -> None:
    worker = script(
        "from launcher_core import record\n"
        "@record\ndef main():\n    os.chdir('/')\n    print('moved')\n    " + (end or "pass") + "\nmain()\n"
    )
    result = launcher.run("--log-dir=logs", "--redirects=1", worker)
    assert result.code == (1 if end else 0)
    assert logs(tmp_path / "logs") == {"attempt_0/0/stdout.log": "moved\n"}
    if end:
        assert "  cause    LookupError: no such shard\n" in result.err
        assert f"{tmp_path}/logs/" in result.err.rpartition("  logs ")[2]


def test_a_successful_launch_leaves_no_temporary_directory(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    assert launcher.run("--nproc-per-node=2", "--max-restarts=1", script("sys.exit(attempt == 0)")).code == 0
    assert names(temporary(tmp_path)) == set()


def test_where_output_went_is_said_when_nobody_chose_the_place(
    launcher: Launcher, script: Script, tmp_path: Path
) -> None:
    result = launcher.run("--redirects=1", script("print('hello')"))
    (root,) = temporary(tmp_path).iterdir()
    assert result == (0, "", f"launcher: output is in {root}; --log-dir chooses another place\n")
    assert logs(root) == {"attempt_0/0/stdout.log": "hello\n"}


def test_the_null_device_as_log_directory_says_what_it_does_without(launcher: Launcher, script: Script) -> None:
    filters = "--duplicate-stdout-filters=hello"
    result = launcher.run("--log-dir=/dev/null", "--tee=3", filters, script("print('hello')"))
    assert result == (
        0,
        "hello\n",
        "launcher: --tee, --duplicate-stdout-filters have no effect: --log-dir=/dev/null keeps no files; output stays "
        "on the console\n",
    )


@pytest.mark.parametrize("run_id", ["a/b", "../x", "..", "x" * 300, "ü ☃"])
def test_any_run_id_can_be_logged(launcher: Launcher, script: Script, tmp_path: Path, run_id: str) -> None:
    options = ["--rdzv-backend=c10d", f"--rdzv-id={run_id}", f"--log-dir={tmp_path / 'logs'}", "--redirects=1"]
    assert launcher.run(*options, script("print(os.environ['TORCHELASTIC_RUN_ID'])")) == (0, "", "")
    assert logs(tmp_path / "logs") == {"attempt_0/0/stdout.log": run_id + "\n"}


def test_streams_can_be_chosen_for_the_eleventh_worker(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    options = ["--nproc-per-node=12", "--redirects=10:1", "--tee=11:1", f"--log-dir={tmp_path / 'logs'}"]
    worker = script("if rank in ('10', '11'): print('rank', rank)\n")
    result = launcher.run(*options, worker, env=QUIET)
    assert result == (0, "[default11]:rank 11\n", "")
    assert logs(tmp_path / "logs") == {
        "attempt_0/10/stdout.log": "rank 10\n",
        "attempt_0/11/stdout.log": "rank 11\n",
    }


def test_a_filter_that_can_copy_nothing_is_spoken_of(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    options = ["--redirects=3", f"--log-dir={tmp_path / 'logs'}", "--duplicate-stdout-filters=loss"]
    result = launcher.run(*options, script("print('loss 0.1')"))
    said = "launcher: --duplicate-stdout-filters copies lines that --tee shows, and no worker's stdout is tee'd\n"
    assert result == (0, "", said)


def test_filtered_lines_are_in_one_file_with_their_ranks(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    options = ["--nproc-per-node=2", "--tee=1", f"--log-dir={tmp_path / 'logs'}", "--duplicate-stdout-filters=loss"]
    result = launcher.run(*options, script("print('step 1')\nprint('loss of rank', rank)\n"), env=QUIET)
    assert result.code == 0
    filtered = logs(tmp_path / "logs")["attempt_0/filtered_stdout.log"]
    assert sorted(filtered.splitlines()) == ["[default0]:loss of rank 0", "[default1]:loss of rank 1"]


def test_a_failed_launch_keeps_its_files_and_names_them(launcher: Launcher, script: Script) -> None:
    result = launcher.run("--redirects=3", script("print('so far')\nsys.exit(3)\n"))
    (path,) = re.findall(r"^  logs     (\S+)$", result.err, re.MULTILINE)
    assert (result.code, Path(path).read_text()) == (1, "so far\n")
