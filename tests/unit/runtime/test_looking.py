"""Where the stacks of a group go, and where py-spy is looked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from launcher_core.model.logs import LogsDest
from launcher_core.runtime.looking import folder_of
from launcher_core.runtime.stacks import spy_program


@pytest.mark.parametrize(
    ("dest", "folder"),
    [
        (LogsDest(error_files={0: "/l/attempt_0/0/error.json", 1: "/l/attempt_0/1/error.json"}), "/l/attempt_0"),
        (LogsDest(error_files={0: "/l/attempt_0/0/error.json"}), "/l/attempt_0"),
        (LogsDest(stdouts={0: "/dev/null", 1: "/l/out1"}, stderrs={0: "/l/err0"}), "/l"),
        (LogsDest(stdouts={0: "", 1: "/dev/null"}), ""),
        (LogsDest(stdouts={0: "here/out", 1: "/there/out"}), ""),
        (LogsDest(), ""),
    ],
)
def test_stacks_go_above_the_workers_own_files(dest: LogsDest, folder: str) -> None:
    assert folder_of(dest) == folder


def program(folder: Path) -> Path:
    folder.mkdir()
    (folder / "py-spy").write_text("#!/bin/sh\n")
    (folder / "py-spy").chmod(0o755)
    return folder / "py-spy"


def test_py_spy_is_found_on_the_path_else_beside_the_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    assert spy_program() is None
    beside = program(tmp_path / "venv")
    assert spy_program() == str(beside)
    monkeypatch.setenv("PATH", f"{tmp_path / 'none'}:{tmp_path / 'bin'}")
    assert spy_program() == str(beside)
    first = program(tmp_path / "bin")
    assert spy_program() == str(first)
