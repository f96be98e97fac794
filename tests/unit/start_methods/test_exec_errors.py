"""Which program a name means, and how a failed start is explained."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from launcher_core.runtime import system
from launcher_plugins.start_methods.exec import explained, find_program


def make(path: Path, mode: int = 0o755) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("name", ["./train", "bin/train", "/no/such/train", "/"])
def test_a_name_with_a_slash_is_a_path(name: str) -> None:
    assert find_program(name, {"PATH": "/bin"}) == name


def test_the_first_executable_on_the_path_wins(tmp_path: Path) -> None:
    make(tmp_path / "first" / "train", mode=0o644)
    second = make(tmp_path / "second" / "train")
    make(tmp_path / "third" / "train")
    (tmp_path / "zeroth" / "train").mkdir(parents=True)
    path = ":".join(str(tmp_path / name) for name in ("zeroth", "missing", "first", "second", "third"))
    assert find_program("train", {"PATH": path}) == second


def test_an_empty_entry_of_the_path_is_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "train")
    monkeypatch.chdir(tmp_path)
    assert find_program("train", {"PATH": "/nowhere:"}) == "./train"


def test_without_a_path_the_systems_default_is_searched() -> None:
    assert find_program("sh", {}) in ("/bin/sh", "/usr/bin/sh")


def test_a_name_found_only_as_a_file_that_cannot_be_executed_says_so(tmp_path: Path) -> None:
    program = make(tmp_path / "train", mode=0o644)
    with pytest.raises(PermissionError) as caught:
        find_program("train", {"PATH": str(tmp_path)})
    text = f"cannot start {program}: it is not executable; chmod +x it, or give its interpreter"
    assert (str(caught.value), caught.value.errno) == (text, errno.EACCES)


@pytest.mark.parametrize("name", ["train", ""])
def test_a_name_found_nowhere_names_where_it_was_looked_for(name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        find_program(name, {"PATH": "/nowhere"})
    text = f"no program {name!r} in PATH=/nowhere; give its path, or correct PATH"
    assert (str(caught.value), caught.value.errno) == (text, errno.ENOENT)


@pytest.mark.parametrize(
    ("number", "program", "kind", "reason"),
    [
        (errno.ENOENT, "/no/such", FileNotFoundError, "there is no such file"),
        (
            errno.ENOENT,
            "/etc/passwd",
            FileNotFoundError,
            "it names an interpreter (its #! line, or its ELF loader)",
        ),
        (errno.EACCES, "/etc", PermissionError, "it is a directory"),
        (errno.EACCES, "/etc/passwd", PermissionError, "it is not executable"),
        (errno.ENOEXEC, "/etc/passwd", OSError, "it is neither a binary for this machine nor a script"),
        (errno.EAGAIN, "/bin/sh", BlockingIOError, "the limit on processes is reached (ulimit -u"),
        (errno.ENOMEM, "/bin/sh", OSError, "Cannot allocate memory"),
    ],
)
def test_a_failed_start_keeps_its_class_and_gains_a_reason(
    number: int, program: str, kind: type[OSError], reason: str
) -> None:
    error = explained(OSError(number, "Cannot allocate memory"), program)
    assert (type(error), error.errno) == (kind, number)
    assert str(error).startswith(f"cannot start {program}: {reason}")


@pytest.mark.parametrize("pgid", [1, 0, -1, -7])
def test_no_number_can_mean_ones_own_group_or_everybody(pgid: int) -> None:
    with pytest.raises(ValueError, match=f"^{pgid} is not the id of a worker's process group$"):
        system.kill_group(pgid, 0)


def test_an_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    script = tmp_path / "train"
    script.write_text("#! /opt/none/python -u\n")
    error = explained(FileNotFoundError(errno.ENOENT, "No such file or directory"), str(script))
    assert str(error) == f"cannot start {script}: its interpreter (its #! line) does not exist: /opt/none/python"
