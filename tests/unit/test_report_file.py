"""The file of the report: what is asked of the kernel for it, and that nothing about it changes how a launch ends."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from report_page import check

from launcher_core.cli.tell import Teller
from launcher_core.errors import LauncherError, UsageError
from launcher_core.launch import Prepared
from launcher_core.model.job import Command, Node, Place
from launcher_core.model.logs import LogsDest
from launcher_core.model.settings import LaunchConfig
from launcher_core.report_file import ReportFile
from launcher_core.rules.supervise import Agent
from launcher_core.runtime.parts import Ending
from launcher_core.worker.failure import ProcessFailure

PLACE = Place(0, 1, 2, 4, 6, 4, 6, "h", 1, restarts=2)


def launch(**config: Any) -> Prepared:
    nothing: Any = None
    command = Command(argv=("python", "s.py"), name="s.py")
    return Prepared(LaunchConfig(1, 1, 2, **config), command, Node("id", "node-3", 2), nothing, (), nothing)


def ended(*failures: ProcessFailure) -> Ending:
    dest = LogsDest(stdouts={0: "/dev/null"}, stderrs={0: "/logs/stderr.log"})
    return Ending(Agent(2, place=PLACE), {}, {one.local_rank: one for one in failures}, dest)


def written(path: Path, ending: Ending, *counts: int | None) -> dict[str, Any]:
    """The report on a launch during which the kernel gave these counts."""
    said = io.StringIO()
    with ReportFile(str(path), iter(counts).__next__).about(launch(run_id="j7"), Teller(said)) as heard:
        heard(ending)
    assert said.getvalue() == ""
    found: dict[str, Any] = json.loads(path.read_text())
    check(found)
    return found


def test_the_node_and_its_workers_are_those_of_the_last_round(tmp_path: Path) -> None:
    found = written(tmp_path / "r.json", ended(ProcessFailure(1, 9, -15, "", stopped=True)), None)
    assert found["node"] == {"name": "node-3", "group_rank": 1, "group_world_size": 2, "world_size": 6}
    assert (found["job"]["run_id"], found["restarts"]["spent"]) == ("j7", 2)
    assert found["consequences"]["stopped"] == [5]


@pytest.mark.parametrize(
    ("counts", "marked"), [((3, 4), [True, False, False]), ((3, 3), [False] * 3), ((None,), [False] * 3)]
)
def test_memory_is_what_killed_a_worker_only_if_the_kernel_counted_a_kill(
    tmp_path: Path, counts: tuple[int | None, ...], marked: list[bool]
) -> None:
    failures = (ProcessFailure(0, 9, -9, ""), ProcessFailure(1, 10, -9, "", stopped=True), ProcessFailure(2, 11, 1, ""))
    written(tmp_path / "r.json", ended(*failures), *counts)
    assert [one.out_of_memory for one in failures] == marked


def test_what_a_launch_raised_is_raised_and_written(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    with (
        pytest.raises(LauncherError, match="no value"),
        ReportFile(str(path)).about(launch(), Teller(None)),
    ):
        raise LauncherError("no value")
    assert json.loads(path.read_text())["cause"]["text"] == "no value"


def test_what_cannot_be_written_is_one_line_beside_what_the_launch_raised(tmp_path: Path) -> None:
    said, path = io.StringIO(), tmp_path / "r.json"
    with (
        pytest.raises(LauncherError, match="no value"),
        ReportFile(str(path)).about(launch(run_id=b"no text"), Teller(said)),
    ):
        raise LauncherError("no value")
    assert len(said.getvalue().splitlines()) == 1
    assert f"--report={str(path)!r}: the report could not be written: TypeError" in said.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "r.json")
    written(tmp_path / "link", ended(), None)
    assert (tmp_path / "link").is_symlink()
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["link", "r.json"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("a\0b", "no file has such a name"), ("new/", "it is a directory"), ("pipe", "no regular file"),
     ("none/r", "there is no directory"), ("file/r", "there is no directory")],
)  # fmt: skip
def test_a_place_that_takes_no_file_is_refused(tmp_path: Path, path: str, why: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=f"--report=.*{why}"):
        ReportFile(f"{tmp_path}/{path}")
