"""The quick look finds what importlib.metadata finds, or says that it cannot tell."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from launcher_core.hooks.find import FLAGS, list_plugins
from launcher_core.hooks.scan import Found, canonical, scan

Make = Callable[..., Path]

GROUP = "launcher.rendezvous"
PLAIN = Found(GROUP, "plain", "package.module", "a", "1.0")
ONE = "[launcher.rendezvous]\nplain = package.module\n"


def truth(path: list[str], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """(group, name, value, distribution, version) as importlib.metadata has them for the path."""
    monkeypatch.setattr(sys, "path", path)
    points = metadata.entry_points()
    found = [point for group in FLAGS for point in points.select(group=group)]
    return sorted(
        (point.group, point.name, point.value, point.dist.name, point.dist.version) for point in found if point.dist
    )


def listed(path: list[str], monkeypatch: pytest.MonkeyPatch) -> list[Found]:
    """What --list-plugins finds along the path."""
    monkeypatch.setattr(sys, "path", path)
    return list_plugins(*FLAGS)


def test_the_running_environment_is_settled_by_the_quick_look_and_all_agree_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = list(sys.path)

    quick = scan(path)

    assert quick is not None
    assert sorted(quick) == truth(path, monkeypatch) == sorted(listed(path, monkeypatch))
    assert {(found.group, found.name) for found in quick} >= {(GROUP, "c10d"), (GROUP, "static")}


@pytest.mark.parametrize(
    ("where", "points", "name"),
    [
        ("a-1.0.dist-info", ONE, "a"),
        ("Outside.Plug_in-1.0.dist-info", ONE, "Outside.Plug-in"),
        ("a-1.0-py3.11.egg-info", ONE, "a"),
        ("a.egg-info", ONE, "a"),
        ("a-1.0.DIST-INFO", ONE, "a"),
        ("a-1.0.dist-info", "[launcher.rendezvous]\nwith.dots-and-dashes_1 = a.b:c.d\n", "a"),
        ("a-1.0.dist-info", "[launcher.rendezvous]\r\n\r\n  spaced  =  a.b:c  \r\n", "a"),
        ("a-1.0.dist-info", "# first\n[launcher.rendezvous]\n# then = not.this\nplain = a\n\n[other]\nb = c\n", "a"),
        ("a-1.0.dist-info", "[console_scripts]\nlauncher.rendezvous = a:b\n[launcher.stores]\nmine=a:b\n", "a"),
        ("a-1.0.dist-info", "[launcher.rendezvous]\na=b:c=d\n", "a"),
        ("a-1.0.dist-info", "[other.rendezvous]\na = b\n", "a"),
        ("a-1.0.dist-info", "", "a"),
        ("a-1.0.dist-info", None, "a"),
    ],
)
def test_one_distribution_is_read_alike(
    where: str, points: str | None, name: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = [str(make(f"site/{where}", points, name=name))]

    quick = scan(path)

    assert quick is not None
    assert sorted(quick) == truth(path, monkeypatch) == sorted(listed(path, monkeypatch))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("a.b [extra]", "a.b"),
        ("a.b:c [extra1, extra2]", "a.b:c"),
        ("a.b : c", "a.b:c"),
        ("a.b:c.d", "a.b:c.d"),
    ],
)
def test_a_value_is_kept_without_its_extras_and_blanks(
    written: str, value: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = [str(make("site/a-1.0.dist-info", f"[launcher.rendezvous]\nplain = {written}\n", name="a"))]
    found = [Found(GROUP, "plain", value, "a", "1.0")]

    assert (scan(path), listed(path, monkeypatch)) == (found, found)


def test_a_line_that_begins_with_a_semicolon_is_a_comment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(make("site/a-1.0.dist-info", "[launcher.rendezvous]\n; old = a\nnew = a\n", name="a"))]
    found = [Found(GROUP, "new", "a", "a", "1.0")]

    assert (scan(path), listed(path, monkeypatch)) == (found, found)


@pytest.mark.parametrize("second", ["a_b-2.0.dist-info", "A.B-2.0.dist-info", "a_b.egg-info", "A__B-2.0-py3.egg-info"])
def test_a_distribution_is_shadowed_by_one_of_its_name_that_comes_earlier_however_it_is_spelled(
    second: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make("first/a_b-1.0.dist-info", "[launcher.rendezvous]\nold = a\n", name="a-b")
    later = make(f"later/{second}", "[launcher.rendezvous]\nnew = a\n", name="A.B", version="2.0")
    path = [str(first), str(later), str(first)]

    assert scan(path) == [Found(GROUP, "old", "a", "a-b", "1.0")]
    assert scan(path) == truth(path, monkeypatch) == listed(path, monkeypatch)


def test_a_distribution_without_plugins_shadows_too(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(make("first/a-1.0.dist-info", name="a")), str(make("later/a-2.0.dist-info", ONE, name="a"))]

    assert scan(path) == truth(path, monkeypatch) == listed(path, monkeypatch) == []


def test_two_distributions_may_offer_one_name(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("site/a-1.0.dist-info", ONE, name="a")
    path = [str(make("site/b-1.0.dist-info", ONE, name="b"))]

    quick = scan(path)

    assert quick is not None
    assert sorted(quick) == truth(path, monkeypatch)
    assert [found.distribution for found in sorted(quick)] == ["a", "b"]


def test_metadata_that_are_missing_leave_name_and_version_open(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(make("site/a-1.0.dist-info", ONE))]
    found = [Found(GROUP, "plain", "package.module", "?", "?")]

    assert (scan(path), listed(path, monkeypatch)) == (found, found)


def test_what_is_not_there_and_the_current_directory_are_parts_of_a_path(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make("site/a-1.0.dist-info", ONE, name="a"))
    path = [str(tmp_path / "absent"), "", str(tmp_path / "absent.zip")]

    assert scan(path) == truth(path, monkeypatch) == [PLAIN]


def test_an_egg_is_left_to_the_import_system(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = [str(make("a-1.0-py3.11.egg/EGG-INFO", ONE, name="a"))]

    assert scan(path) is None
    assert listed(path, monkeypatch) == truth(path, monkeypatch) == [PLAIN]


def test_a_zip_file_is_left_to_the_import_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a-1.0.dist-info/METADATA", "Name: a\nVersion: 1.0\n")
        archive.writestr("a-1.0.dist-info/entry_points.txt", ONE)
    path = [str(tmp_path / "all.zip")]

    assert scan(path) is None
    assert listed(path, monkeypatch) == truth(path, monkeypatch) == [PLAIN]


def test_two_versions_in_one_folder_are_left_to_the_import_system(make: Make) -> None:
    make("site/a-1.0.dist-info", ONE, name="a")

    assert scan([str(make("site/A-2.0.dist-info", ONE, name="a", version="2.0"))]) is None


def test_a_finder_that_knows_distributions_of_its_own_is_asked(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            return None

        @staticmethod
        def find_distributions(context: object = None) -> list[metadata.Distribution]:
            return [metadata.PathDistribution(make("elsewhere/b-1.0.dist-info", ONE, name="b") / "b-1.0.dist-info")]

    path = [str(make("site/a-1.0.dist-info", ONE, name="a"))]
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])

    assert scan(path) is None
    assert [found.distribution for found in listed(path, monkeypatch)] == ["a", "b"]


@pytest.mark.parametrize("broken", [b"[launcher.rendezvous]\nno entry at all\nmine = a\n", b"\xff\xfe[\x00\n"])
def test_a_file_that_cannot_be_read_hides_no_other_distribution(
    broken: bytes, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("site/a-1.0.dist-info", broken, name="a")
    path = [str(make("site/b-1.0.dist-info", ONE, name="b"))]
    good = Found(GROUP, "plain", "package.module", "b", "1.0")
    mine = [Found(GROUP, "mine", "a", "a", "1.0")] if b"mine" in broken else []

    assert sorted(scan(path) or ()) == listed(path, monkeypatch) == [*mine, good]


@pytest.mark.parametrize(("name", "expected"), [("a", "a"), ("A.b-C_d", "a_b_c_d"), ("a--b", "a_b"), ("a.-_b", "a_b")])
def test_names_of_distributions_are_compared_by_one_spelling(name: str, expected: str) -> None:
    assert canonical(name) == expected
