"""What the command line finds out about the machine that it runs on."""

from __future__ import annotations

import os
import sys
import uuid
from pathlib import Path

import pytest

from launcher_core.cli.facts import this_machine


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with a program, a text file and a directory."""
    (tmp_path / "prog").write_text("#!/bin/sh\n")
    (tmp_path / "prog").chmod(0o755)
    (tmp_path / "text").write_text("")
    (tmp_path / "text").chmod(0o644)
    (tmp_path / "dir").mkdir()
    return tmp_path


def test_a_program_is_found_on_the_path_that_the_workers_will_have(folder: Path) -> None:
    find = this_machine({"PATH": os.pathsep.join(("/nowhere", str(folder)))}).find_program
    assert [find(name) for name in ("prog", "text", "dir", "gone")] == [
        str(folder / "prog"),
        None,
        None,
        None,
    ]


def test_a_program_with_a_slash_is_not_looked_for_on_the_path(folder: Path) -> None:
    find = this_machine({"PATH": str(folder.parent)}).find_program
    assert [find(name) for name in (str(folder / "prog"), str(folder / "text"), f"{folder.name}/prog")] == [
        str(folder / "prog"),
        None,
        None,
    ]


def test_a_script_may_be_a_file_or_a_directory(folder: Path) -> None:
    exists = this_machine({}).exists
    assert [exists(str(folder / name)) for name in ("text", "dir", "gone")] == [True, True, False]


def test_a_run_id_is_a_random_uuid() -> None:
    facts = this_machine({})
    first, second = facts.new_run_id(), facts.new_run_id()
    assert (str(uuid.UUID(first)), uuid.UUID(first).version, first == second) == (first, 4, False)


def test_workers_run_by_the_interpreter_that_runs_the_launcher() -> None:
    assert this_machine({}).executable == sys.executable
