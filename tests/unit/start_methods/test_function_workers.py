"""What a function's end means, and what it is called by."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from launcher_core.model.job import Command
from launcher_plugins.start_methods import bootstrap, parcel


class Trainer:
    def fit(self) -> None: ...

    def __repr__(self) -> str:
        return "Trainer()"

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (None, 0, ""),
        (0, 0, ""),
        (False, 0, ""),
        (True, 1, ""),
        (3, 3, ""),
        (256, 0, ""),
        (-1, 255, ""),
        ("out of luck", 1, "out of luck\n"),
        ("", 1, "\n"),
        (("a", 1), 1, "('a', 1)\n"),
        (2.0, 1, "2.0\n"),
    ],
)
def test_an_exit_code_means_what_it_means_to_python(
    code: object, status: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (bootstrap.exit_status(code), capsys.readouterr().err) == (status, text)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (len, "len"),
        (Trainer().fit, "Trainer.fit"),
        (Trainer(), "Trainer()"),
        (functools.partial(len, ()), "functools.partial(<built-in function len>, ())"),
    ],
)
def test_a_function_is_called_by_what_its_author_would_know(function: Any, name: str) -> None:
    assert parcel.name_of(function) == name


def test_the_function_wanted_is_the_commands() -> None:
    assert parcel.wanted(Command(function=len), "spawn") is len


@pytest.mark.parametrize(
    ("command", "name"),
    [(Command(("train.sh", "-v")), "'train.sh -v'"), (Command(("sh",), name="job"), "'job'")],
)
def test_a_command_is_no_function(command: Command, name: str) -> None:
    with pytest.raises(ValueError, match=f"start method spawn starts Python functions, and {name} is a command"):
        parcel.wanted(command, "spawn")
