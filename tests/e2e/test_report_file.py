"""What --report writes of real launches: as docs/report.md has it, and as the report for people says it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher, Result, until
from report_page import check

BIN = Path(__file__).parent / "bin"
END, STAY = BIN / "end_as_told.py", BIN / "stay.py"
RAISES = "def work(x):\n    raise ValueError(f'bad {x}')\n\n\nwork(3)\n"


def read(path: Path) -> dict[str, Any]:
    """The report, if every field of it is as the page has it."""
    found: dict[str, Any] = json.loads(path.read_text())
    check(found)
    assert [one.name for one in path.parent.glob("*.tmp")] == []
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "report.json"


def failed(launcher: Launcher, file: Path, *words: object) -> tuple[Result, dict[str, Any]]:
    """A launch that fails of a worker: text and JSON say the same."""
    result = launcher.run(f"--report={file}", *words)
    found = read(file)
    cause = found["cause"]
    assert (found["exit_code"], found["outcome"]) == (result.code, "failed")
    assert cause["title"] in result.err.splitlines()
    assert f"  cause    {cause['text']}".splitlines()[0] in result.err.splitlines()
    assert f"  worker   rank {cause['rank']} (local rank {cause['local_rank']}), pid {cause['pid']}, " in result.err
    return result, found


def test_an_exception_has_its_class_type_message_and_place(launcher: Launcher, file: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(RAISES)
    result, found = failed(
        launcher, file, "--log-dir=logs", "-r2", "--max-restarts=1", "--rdzv-id=j7", script, "--lr=1"
    )
    assert found["job"]["run_id"] == "j7"
    assert found["job"]["script"] == str(script)
    assert found["job"]["command"][-2:] == [str(script), "--lr=1"]
    cause = found["cause"]
    assert (cause["class"], cause["exception"]) == ("exception", {"type": "ValueError", "message": "bad 3"})
    place = {"file": str(script), "line": 2, "function": "work", "source": "raise ValueError(f'bad {x}')"}
    assert cause["frame"] == place
    assert cause["stderr"][-1] == cause["traceback"][-1] == "ValueError: bad 3"
    assert (found["restarts"]["spent"], found["restarts"]["allowed"]) == (1, 1)
    (cause,) = found["restarts"]["causes"]
    assert (cause["kind"], cause["count"]) == ("failure", 1)
    assert f"           once: {cause['reason']}\n" in result.err
    assert found["logs"]["stderr"] in result.err
    assert Path(tmp_path, found["logs"]["stderr"]).read_text().endswith("ValueError: bad 3\n")


def test_the_command_that_reproduces_a_rank_does_so(launcher: Launcher, file: Path, tmp_path: Path) -> None:
    script = tmp_path / "it's.py"
    script.write_text("import os, sys\nsys.exit(int(sys.argv[1]) if os.environ['RANK'] == '1' else 0)\n")
    result, found = failed(launcher, file, "--nproc-per-node=2", script, "7", "a  b")
    command = found["cause"]["reproduce"]
    assert f"  repeat   {command}  # the rank alone: " in result.err
    assert command.startswith("RANK=1 LOCAL_RANK=1 WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 ")
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False).returncode == 7


def test_an_exit_code_is_the_cause_and_the_others_are_its_consequences(launcher: Launcher, file: Path) -> None:
    words = ["--exit-code=worker", "--nproc-per-node=3", END, "wait", "7", "wait"]
    _, found = failed(launcher, file, *words)
    assert (found["exit_code"], found["node"]["world_size"]) == (7, 3)
    cause = found["cause"]
    assert [cause[name] for name in ("class", "rank", "exit_code", "signal", "exception")] == [
        "exit_code", 1, 7, None, None
    ]  # fmt: skip
    assert found["consequences"] == {"stopped": [0, 2], "killed": [], "failed": [], "nodes": []}


def test_a_segmentation_fault_is_a_signal_with_its_meaning(launcher: Launcher, file: Path) -> None:
    cause = failed(launcher, file, END, "-11")[1]["cause"]
    assert (cause["class"], cause["exit_code"]) == ("signal", -11)
    assert (cause["signal"]["number"], cause["signal"]["name"]) == (11, "SIGSEGV")
    assert cause["text"] == f"SIGSEGV (signal 11): {cause['signal']['meaning']}"


def test_a_script_that_is_not_there_has_not_been_started(launcher: Launcher, file: Path) -> None:
    cause = failed(launcher, file, "-m", "no_such_module_at_all")[1]["cause"]
    assert cause["class"] == "start_failed"
    assert "no_such_module_at_all" in cause["text"]


def test_a_program_that_cannot_be_started_is_the_launchers_own_failure(
    launcher: Launcher, file: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    result = launcher.run(f"--report={file}", "--no-python", program)
    found = read(file)
    assert (found["outcome"], found["exit_code"], found["cause"]["class"]) == ("failed", result.code, "start_failed")
    assert found["cause"]["text"] in result.err
    assert found["cause"]["rank"] is None


def test_nodes_that_do_not_come_are_a_failed_rendezvous(launcher: Launcher, file: Path, free_port: int) -> None:
    meet = ["--nnodes=2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}"]
    result = launcher.run(f"--report={file}", *meet, "--rdzv-conf=join_timeout=0.5", END, "0")
    found = read(file)
    assert (found["outcome"], found["exit_code"], result.code) == ("failed", 1, 1)
    assert found["cause"]["class"] == "rendezvous_failed"
    assert found["cause"]["text"] in result.err
    assert found["node"]["group_rank"] is None


def test_success_is_written_too_and_replaces_what_was_there(launcher: Launcher, file: Path) -> None:
    file.write_text("of an earlier launch")
    assert launcher.run("--nproc-per-node=2", END, "0", "0", env={"PET_REPORT": str(file)}).code == 0
    found = read(file)
    assert (found["outcome"], found["exit_code"], found["cause"]) == ("succeeded", 0, None)
    assert found["began"] <= found["ended"]
    assert found["seconds"] > 0


def test_a_launch_that_is_stopped_says_by_which_signal(launcher: Launcher, file: Path, tmp_path: Path) -> None:
    running = launcher.start(f"--report={file}", "--nproc-per-node=2", STAY, tmp_path, "die")
    until(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists(), "both workers are there")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 143
    found = read(file)
    assert (found["outcome"], found["exit_code"], found["cause"]["class"]) == ("stopped", 143, "stopped")
    assert found["cause"]["signal"]["name"] == "SIGTERM"
    assert found["consequences"]["stopped"] == [0, 1]


def test_a_job_that_failed_on_another_node_has_failed_here_too(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    common = ["--nnodes=2", f"--master-port={free_port}"]
    files = [tmp_path / "0.json", tmp_path / "1.json"]
    nodes = [
        launcher.start(*common, f"--node-rank={rank}", f"--report={files[rank]}", END, "wait", "5") for rank in range(2)
    ]
    assert [one.wait().code for one in nodes] == [1, 1]
    told, own = read(files[0]), read(files[1])
    assert told["cause"] == own["cause"]
    assert (told["cause"]["class"], told["cause"]["rank"], told["cause"]["exit_code"]) == ("exit_code", 1, 5)
    assert (told["outcome"], told["consequences"]["stopped"]) == ("failed", [0])
    assert [one["node"]["group_rank"] for one in (told, own)] == [0, 1]


@pytest.mark.parametrize(
    ("path", "why"),
    [(".", "it is a directory"), ("none/r.json", "there is no directory"), ("/dev/null", "it is no regular file")],
)
def test_a_place_that_takes_no_file_is_refused_before_anything_starts(launcher: Launcher, path: str, why: str) -> None:
    result = launcher.run(f"--report={path}", END, "0")
    assert (result.code, result.out) == (2, "")
    assert f"--report={path!r}: {why}" in result.err
    assert "PET_REPORT" in launcher.run(END, "0", env={"PET_REPORT": path}).err


def test_a_report_that_cannot_be_written_is_one_line_and_changes_no_exit_code(
    launcher: Launcher, tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    script = tmp_path / "removes.py"
    script.write_text("import os, sys\nos.rmdir('gone')\nsys.exit(int(sys.argv[1]))\n")
    result = launcher.run("--report=gone/r.json", script, "0")
    assert (result.code, len(result.err.splitlines())) == (0, 1)
    assert "the report could not be written: No such file or directory" in result.err
    (tmp_path / "gone").mkdir()
    assert launcher.run("--report=gone/r.json", "--exit-code=worker", script, "9").code == 9


def test_what_is_only_shown_leaves_the_file_alone(launcher: Launcher, file: Path) -> None:
    file.write_text("of an earlier launch")
    assert launcher.run(f"--report={file}", "--dry-run", END, "0").code == 0
    assert file.read_text() == "of an earlier launch"
