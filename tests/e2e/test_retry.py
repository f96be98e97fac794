"""Which failures a launch tries again, as its user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher

Script = Callable[[str], Path]
AGAIN = "restart 1 of 2"
TWICE = "not tried again: the same failure twice at the start (--retry-same-failure would)"
FAILS = "open(sys.argv[1], 'a').write('.')\nraise KeyError('dataset')\n"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a worker's program; `body` has `os` and `sys` imported."""

    def write(body: str) -> Path:
        path = tmp_path / "train.py"
        path.write_text(f"import os, sys\n{body}")
        return path

    return write


def test_the_same_exception_twice_at_the_start_is_not_tried_a_third_time(
    launcher: Launcher, script: Script, tmp_path: Path
) -> None:
    starts, written = tmp_path / "starts", tmp_path / "report.json"

    done = launcher.run("--max-restarts=2", f"--report={written}", script(FAILS), starts)

    assert (done.code, starts.read_text()) == (1, "..")
    assert f"restarts 1 of 2 spent; {TWICE}" in done.err
    restarts = json.loads(written.read_text())["restarts"]
    assert (restarts["spent"], restarts["allowed"]) == (1, 2)


def test_it_is_tried_as_often_as_it_may_where_the_user_says_so(
    launcher: Launcher, script: Script, tmp_path: Path
) -> None:
    starts = tmp_path / "starts"

    done = launcher.run("--max-restarts=2", "--retry-same-failure", script(FAILS), starts)

    assert (done.code, starts.read_text()) == (1, "...")
    assert "restarts 2 of 2 spent: --max-restarts allows no more" in done.err


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("print('loading', file=sys.stderr)\n", id="something was printed"),
        pytest.param("raise ConnectionRefusedError('no server yet')\n", id="it may pass"),
        pytest.param("sys.exit(4)\n", id="no exception"),
    ],
)
def test_what_may_go_better_the_next_time_is_tried_again(
    launcher: Launcher, script: Script, tmp_path: Path, body: str
) -> None:
    starts = tmp_path / "starts"
    written, _, failing = FAILS.partition("\n")

    done = launcher.run("--max-restarts=2", script(f"{written}\n{body}{failing}"), starts)

    assert (done.code, starts.read_text()) == (1, "...")


def test_a_start_that_failed_too_early_is_not_tried_again(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    done = launcher.run("--max-restarts=2", "--restart-min-uptime=600", script(FAILS), starts)

    assert (done.code, starts.read_text()) == (1, ".")
    assert "(--restart-min-uptime=600)" in done.err


def test_there_is_a_pause_before_each_restart(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    done = launcher.run("--max-restarts=2", "--restart-backoff=0.1:0.15", "--retry-same-failure", script(FAILS), starts)

    assert (done.code, starts.read_text()) == (1, "...")
    told = [line for line in done.err.splitlines() if "--restart-backoff" in line]
    assert told == [f"launcher: starting again in {pause} s (--restart-backoff)" for pause in ("0.1", "0.15")]


def test_all_nodes_hear_why_a_failure_is_not_tried_again(
    launcher: Launcher, script: Script, tmp_path: Path, free_port: int
) -> None:
    starts = tmp_path / "starts"
    where = ("--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--max-restarts=2")
    body = f"if os.environ['RANK'] == '0':\n    {FAILS.partition(chr(10))[0]}\n    {FAILS.partition(chr(10))[2]}"
    worker = script(f"{body}\nimport signal; signal.pause()\n")

    agents = [launcher.start(*where, worker, starts) for _ in range(2)]
    done = [agent.wait() for agent in agents]

    assert [one.code for one in done] == [1, 1]
    assert starts.read_text() == ".."
    assert all(TWICE in one.err for one in done)


SLOW = """
import select
open(sys.argv[1], "a").write(".")
select.select([], [], [], 0.5)  # the time that passes is what this is about
sys.exit(0 if os.path.getsize(sys.argv[1]) == 4 else 3)
"""


@pytest.mark.parametrize(("backend", "words"), [("static", ()), ("c10d", ("--rdzv-backend=c10d",)), ("file", ())])
def test_restarts_outside_of_the_window_do_not_count(
    launcher: Launcher, script: Script, tmp_path: Path, backend: str, words: tuple[str, ...]
) -> None:
    starts = tmp_path / "starts"
    words = ("--rdzv-backend=file", f"--rdzv-endpoint={tmp_path}") if backend == "file" else words

    done = launcher.run(*words, "--max-restarts=1", "--restart-window=0.2", script(SLOW), starts)

    assert (done.code, starts.read_text()) == (0, "....")
    assert "; restart 3\n" in done.err


def test_restarts_within_the_window_do(launcher: Launcher, script: Script, tmp_path: Path) -> None:
    starts = tmp_path / "starts"

    done = launcher.run("--max-restarts=1", "--restart-window=600", script(SLOW), starts)

    assert (done.code, starts.read_text()) == (1, "..")
    assert "restarts 1 of 1 spent: --max-restarts allows no more" in done.err
