"""The tutorial's first plugin keeps the contract, by the test that the tutorial shows."""

from __future__ import annotations

import re
from pathlib import Path

from kits import verdicts

TUTORIAL = (Path(__file__).resolve().parents[2] / "docs" / "plugin_tutorial.md").read_text()


def test_the_tutorials_plugin_passes_the_test_that_the_tutorial_shows(tmp_path: Path) -> None:
    files = dict(re.findall(r"`([\w.]+)`:\n\n```python\n(.*?)```", TUTORIAL, re.DOTALL))
    for name in ("launcher_states.py", "test_launcher_states.py"):
        (tmp_path / name).write_text(files[name])

    found = verdicts(tmp_path / "test_launcher_states.py", tmp_path, [])["TestStates"]

    assert found.failed == {}
    assert (len(found.passed), found.skipped) == (5, ["test_every_event_is_recorded_once_and_in_order"])


def test_the_tutorials_table_names_every_class_of_the_kit_with_its_fixture() -> None:
    import launcher_core.testing as kit

    rows = dict(re.findall(r"^\| \w+ \| `(\w+)` \| `(\w+)`", TUTORIAL, re.MULTILINE))

    assert sorted(rows) == sorted(kit.__all__)
    assert all(hasattr(getattr(kit, name), fixture) for name, fixture in rows.items())
