"""docs/backend_tutorial.md is followed word for word: its files, its commands, what they print."""

from __future__ import annotations

import re
import socket
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from launches import Launcher
from pages import ROOT, Command, Reader, blocks, files, neutral
from sites import check_setuptools

PAGE = ROOT / "docs" / "backend_tutorial.md"
TEXT = PAGE.read_text()


class Tutorial:
    """A reader of the page who has written its files."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.reader = Reader(folder, env)
        for name, text in files(TEXT).items():
            (self.reader.folder / name).write_text(text)

    def follow(self, block: list[Command]) -> list[str]:
        """What the commands print."""
        return self.reader.run(block, self.came)

    def came(self, line: str) -> bool:
        """Whether the node that was started by the command has written to the database, if it is the first."""
        (job,) = re.findall(r"--rdzv-id=(\w+)", line)
        with closing(sqlite3.connect(self.reader.folder / "jobs.db")) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
            return bool(tables) and bool(database.execute("SELECT * FROM jobs WHERE id = ?", [job]).fetchone())


@pytest.fixture(scope="module")
def launcher_env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """What launches run with here; nothing that they started may outlive the tests."""
    launcher = Launcher(tmp_path_factory.mktemp("launches"))
    yield launcher
    launcher.end()


@pytest.fixture(scope="module")
def tutorial(launcher_env: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    """The page, followed as far as `pip install`."""
    check_setuptools()
    followed = Tutorial(tmp_path_factory.mktemp("tutorial"), launcher_env.env)
    followed.reader.site.install(followed.reader.folder)
    return followed


def named(block: list[Command]) -> str:
    """Of the last command what tells it from the others."""
    return " ".join(block[-1].line.split()[-2:])


@pytest.mark.parametrize("block", blocks(TEXT), ids=named)
def test_the_commands_print_what_the_page_shows(tutorial: Tutorial, block: list[Command]) -> None:
    folder = tutorial.reader.folder
    printed = [neutral(text, folder) for text in tutorial.follow(block)]

    assert printed == [neutral(one.shown, folder) for one in block]


def test_the_first_backend_is_as_short_as_the_page_says() -> None:
    lines = files(TEXT)["launcher_sqlite.py"].splitlines()

    assert len([line for line in lines if line.strip()]) <= 30


def test_the_kit_finds_the_mistake_that_the_page_suggests(tutorial: Tutorial, tmp_path: Path) -> None:
    (mistake,) = re.findall(r"^Turn `(.*)` into `(.*)` to see", TEXT, re.MULTILINE)
    folder = tutorial.reader.folder
    shown = files(TEXT)
    (tmp_path / "launcher_sqlite.py").write_text(shown["launcher_sqlite.py"].replace(*mistake))
    (tmp_path / "test_launcher_sqlite.py").write_text(shown["test_launcher_sqlite.py"])
    tutorial.reader.folder = tmp_path
    try:
        (printed,) = tutorial.follow([Command("$", "pytest -q -k stale_token test_launcher_sqlite.py", "")])
    finally:
        tutorial.reader.folder = folder

    assert "1 failed" in printed


def anew(text: str, folder: Path) -> str:
    """The page with what its commands print now."""
    launcher = Launcher(folder)
    tutorial = Tutorial(folder, launcher.env)
    for block in blocks(text):
        for one, printed in zip(block, tutorial.follow(block), strict=True):
            node = one.prompt.removesuffix("$")
            said = re.sub(rf"\b{re.escape(socket.gethostname())}\b", node, printed)
            before, after = (f"\n{one.prompt} {one.line}\n{below}" for below in (one.shown, said))
            text = text.replace(before, after.replace(f"{tutorial.reader.folder}/", ""), 1)
    launcher.end()
    return text


if __name__ == "__main__":  # writes what the page shows anew; which node is meant, a reader has to correct
    with tempfile.TemporaryDirectory() as name:
        PAGE.write_text(anew(TEXT, Path(name)))
