"""The conformance kit finds what is wrong with a plugin, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from kits import HERE, Verdict, check, chosen, planted, verdicts

KINDS = sorted(path.stem.removeprefix("planted_") for path in HERE.glob("planted_*.py"))
WANTED = {kind: planted(kind) for kind in KINDS}
CASES = [(kind, name, caught_by) for kind in KINDS for name, caught_by in WANTED[kind].items()]


@pytest.fixture(scope="session")
def found(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Verdict]]:
    """What the kit says of the plugins of a kind, which is found out once."""
    folder = tmp_path_factory.mktemp("planted")

    @cache
    def found(kind: str) -> dict[str, Verdict]:
        path = HERE / f"planted_{kind}.py"
        return verdicts(path, folder, chosen(path, WANTED[kind]))

    return found


@pytest.mark.parametrize(("kind", "name", "caught_by"), CASES, ids=[f"{kind}-{name[4:]}" for kind, name, _ in CASES])
def test_a_planted_defect_is_found_by_the_test_that_is_about_it(
    found: Callable[[str], dict[str, Verdict]], kind: str, name: str, caught_by: str
) -> None:
    check(found(kind)[name], caught_by)


def test_every_kind_has_a_plugin_without_a_defect_and_several_with_one() -> None:
    assert KINDS == ["backends", "handlers", "logs", "recorders", "starters", "stores"]
    for kind in KINDS:
        defects = [caught_by for each, _, caught_by in CASES if each == kind]
        assert "" in defects, kind
        assert len(set(defects)) >= 4, kind
