"""The status line, as somebody sees it who sits at the terminal."""

from __future__ import annotations

import fcntl
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import IN_ONE_PIECE, Launcher, until
from terminals import Terminal

TALKS = f"""
import os, select, sys
{IN_ONE_PIECE}
def wait(name):
    while not os.path.exists(name):
        select.select([], [], [], 0.01)
for step in range(100):
    print("step", step)
wait("shown")
for step in range(100, 200):
    print("step", step)
print("done")
wait("seen")
"""
LASTS = """
import select
select.select([], [], [], 2.2)  # longer than what would be too short for a line
print("done")
"""
EVERYTHING = [*(f"step {step}" for step in range(200)), "done"]


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "talks.py"
    path.write_text(TALKS)
    return path


@pytest.fixture
def leave(tmp_path: Path) -> Callable[[str], None]:
    return lambda name: (tmp_path / name).touch()


def test_it_stands_below_what_workers_print_and_leaves_no_trace(
    launcher: Launcher, terminal: Terminal, script: Path, leave: Callable[[str], None]
) -> None:
    running = launcher.start(script, env={"TERM": "xterm"}, **terminal.give())

    until(
        lambda: terminal.rows()[-1].startswith(" talks.py: running, round 0 | 1 node | 1 worker"), "the line is there"
    )
    leave("shown")
    until(lambda: "done" in terminal.rows(), "all is printed")
    assert terminal.rows()[-1].startswith(" talks.py: running")
    leave("seen")

    assert running.wait().code == 0
    assert [line for line in terminal.lines() if line] == EVERYTHING
    assert terminal.screen.margins is None


def test_it_moves_with_the_last_row(
    launcher: Launcher, terminal: Terminal, script: Path, leave: Callable[[str], None]
) -> None:
    running = launcher.start(script, env={"TERM": "xterm"}, **terminal.give())
    until(lambda: terminal.rows()[-1].startswith(" talks.py"), "the line is there")

    fcntl.ioctl(terminal.line, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 77, 0, 0))
    terminal.screen.resize(20, 77)

    until(lambda: terminal.rows()[19].startswith(" talks.py"), "the line is in the last of fewer rows")
    leave("shown")
    leave("seen")
    assert running.wait().code == 0
    assert not any("talks.py" in row for row in terminal.rows())


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        pytest.param(["--status-line=off"], {"TERM": "xterm"}, id="not wanted"),
        pytest.param([], {"TERM": "dumb"}, id="a terminal that cannot"),
    ],
)
def test_nothing_is_written_where_it_is_not_wanted(
    launcher: Launcher, terminal: Terminal, tmp_path: Path, options: list[str], environ: dict[str, str]
) -> None:
    script = tmp_path / "lasts.py"
    script.write_text(LASTS)

    running = launcher.start(*options, script, env=environ, **terminal.give())

    assert running.wait().code == 0
    until(lambda: "done" in terminal.rows(), "all is printed")
    assert "\x1b" not in terminal.look()


def test_a_reader_that_is_no_terminal_sees_no_line(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "lasts.py"
    script.write_text(LASTS)

    assert launcher.run(script, env={"TERM": "xterm"}) == (0, "done\n", "")
