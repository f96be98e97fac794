"""Plugins of other distributions, installed by pip into environments of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from launches import IN_ONE_PIECE, Launcher
from sites import Site, wheels

HERE = Path(__file__).parent
SOURCES = [HERE / name for name in ("plugin", "faulty", "twin_one", "twin_two")]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel of each distribution here, by the name of its folder."""
    return wheels(SOURCES, tmp_path_factory.mktemp("outside"))


@pytest.fixture(scope="session")
def crowded(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An environment in which all of them are installed."""
    site = Site(tmp_path_factory.mktemp("crowded"))
    site.install(*built.values())
    return site


@pytest.fixture
def launcher_of(tmp_path: Path) -> Iterator[Callable[[Path], Launcher]]:
    """Makes launchers of an interpreter's environment. Nothing they started may outlive the test."""
    made: list[Launcher] = []

    def make(python: Path) -> Launcher:
        folder = tmp_path / f"launches{len(made)}"
        folder.mkdir()
        made.append(Launcher(folder, python))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def launcher(crowded: Site, launcher_of: Callable[[Path], Launcher]) -> Launcher:
    """Launches where all distributions of this folder are installed."""
    return launcher_of(crowded.python)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a worker's program; `body` has `os` and `sys` imported."""

    def write(body: str) -> Path:
        path = tmp_path / "worker.py"
        path.write_text(f"import os, sys\n{IN_ONE_PIECE}\n{body}\n")
        return path

    return write
