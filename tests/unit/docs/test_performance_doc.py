"""The commands of docs/performance.md can be given as they stand there."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BENCH = ROOT / "tests" / "bench"
TEXT = (ROOT / "docs" / "performance.md").read_text()


def commands() -> list[list[str]]:
    """The words of each command, those in blocks and those within a sentence."""
    blocks = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    quoted = re.findall(r"`((?:tox|python|bin/)[^`\n]*)`", TEXT)
    return [shlex.split(line, comments=True) for line in [*lines, *quoted]]


def environments() -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "tox.ini")
    return {section.removeprefix("testenv:") for section in config.sections() if section.startswith("testenv:")}


def options_of(script: Path) -> set[str]:
    """Every option that the script or what it shares with the others declares."""
    sources = script.read_text() + (BENCH / "harness.py").read_text()
    return set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', sources))


def test_there_is_a_command_that_reproduces_the_figures():
    assert ["tox", "-e", "bench"] in [words[:3] for words in commands()]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_names_what_exists(words: list[str]) -> None:
    if words[0] == "tox":
        assert words[1] == "-e" and words[2] in environments()
        script, options = BENCH / ("budget.py" if words[2] == "budget" else "compare.py"), words[3:]
        assert options[:1] in ([], ["--"])
    elif words[0] == "python":
        script, options = ROOT / words[1], words[2:]
    else:
        script, options = ROOT / words[0], words[1:]
        assert script.stat().st_mode & 0o111
        script = BENCH / "compare.py"
    assert script.is_file()
    assert {word for word in options if word.startswith("--") and word != "--"} <= options_of(script)


def test_every_part_of_the_comparison_is_in_the_document():
    parts = re.search(r"^PARTS.*?^}", (BENCH / "compare.py").read_text(), re.MULTILINE | re.DOTALL)
    assert parts is not None
    named = set(re.findall(r'^    "(\w+)":', parts[0], re.MULTILINE))
    assert named == set(re.findall(r"^## .*\(`(\w+)`\)$", TEXT, re.MULTILINE))
