"""Each plugin's folder has a README of one screen, which names what the plugin takes."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

PLUGINS = Path(__file__).resolve().parents[3] / "plugins"
FOLDERS = sorted(file.parent.name for file in PLUGINS.glob("*/__init__.py"))
ONE_SCREEN = 60


def text(folder: str) -> str:
    return (PLUGINS / folder / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_plugin_has_a_readme_of_one_screen(folder: str) -> None:
    assert 0 < len(text(folder).splitlines()) <= ONE_SCREEN


@pytest.mark.parametrize("folder", ["c10d", "etcd", "static"])
def test_every_key_of_a_rendezvous_is_in_its_table(folder: str) -> None:
    cells = re.findall(r"^\| (`.*?`) \|", text(folder), re.MULTILINE)
    named = [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]
    assert sorted(named) == sorted(import_module(f"launcher_plugins.{folder}").KEYS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_that_a_readme_names_is_there(folder: str) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", text(folder)))
    assert [
        name for name in named if not ((PLUGINS / folder / name).exists() or (PLUGINS.parent / name).exists())
    ] == []
