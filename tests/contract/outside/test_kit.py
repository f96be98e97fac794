"""Plugins of another distribution inherit their tests from the launcher, in an environment of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

from kits import verdicts
from sites import Site

TESTS = Path(__file__).parent / "plugin" / "tests"


def test_a_strangers_plugins_keep_the_contracts_that_their_author_tests_them_against(
    crowded: Site, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(TESTS, tmp_path / "tests"))

    found = verdicts(folder / "contracts.py", tmp_path, [], crowded.python)

    assert {name: verdict.failed for name, verdict in found.items()} == {
        name: {} for name in ("TestLines", "TestFiles", "TestPopen", "TestDirectory", "TestObject")
    }
    assert all(len(verdict.passed) >= 5 for verdict in found.values()), found


def test_the_kit_costs_a_test_run_that_does_not_use_it_three_modules(crowded: Site, tmp_path: Path) -> None:
    file = tmp_path / "test_other.py"
    file.write_text(
        "import sys\n"
        "def test_what_is_imported():\n"
        "    names = sorted(name for name in sys.modules if name.partition('.')[0] in ('launcher_core', 'stevedore'))\n"
        "    assert names == ['launcher_core', 'launcher_core.testing', 'launcher_core.testing.plugin']\n"
    )

    found = verdicts(file, tmp_path, [], crowded.python)

    assert [verdict.failed for verdict in found.values()] == [{}]
