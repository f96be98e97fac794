"""docs/differences.md says nothing that is not so: what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from launcher_core.cli.options import OPTIONS

TESTS = Path(__file__).parents[2]
TEXT = (TESTS.parent / "docs" / "differences.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| What people see")
]


def test_every_wart_has_a_row_of_five_cells() -> None:
    assert (len(ROWS), {len(row) for row in ROWS}) == (72, {5})
    assert all(all(row) for row in ROWS)


def test_most_rows_are_shown_by_a_test() -> None:
    assert sum("::" in row[4] for row in ROWS) >= 45


@pytest.mark.parametrize("name", sorted(set(re.findall(r"[\w/]+\.py::\w+", TEXT))))
def test_every_test_that_is_named_is_there(name: str) -> None:
    path, _, function = name.partition("::")
    source = (TESTS / path).read_text(encoding="utf-8")
    assert re.search(rf"^def {function}\(", source, re.MULTILINE), f"tests/{path} has no {function}"


def test_every_flag_that_is_named_is_an_option() -> None:
    known = {spelling for option in OPTIONS for spelling in option.spellings}
    named = set(re.findall(r"--[a-z][a-z-]*[a-z]", TEXT))
    abbreviation = {"--nproc"}  # which the text is about
    assert named - known == abbreviation


def test_every_variable_of_ours_that_is_named_sets_an_option() -> None:
    known = {option.variable for option in OPTIONS}
    assert set(re.findall(r"PET_[A-Z_]*[A-Z]", TEXT)) <= known


def test_nothing_but_tests_stands_in_the_last_cell() -> None:
    one = r"`[\w/]+\.py::\w+`"
    assert [row[4] for row in ROWS if not re.fullmatch(rf"{one}(, {one})*|not yet", row[4])] == []
