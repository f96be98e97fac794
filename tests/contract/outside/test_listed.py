"""--list-plugins shows every plugin that is installed, whatever is wrong with it, and imports none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher
from sites import Site

GROUPS = ("rendezvous", "stores", "logs_specs", "start_methods", "event_recorders", "policies")

BOTH = """
import json, sys
from importlib import metadata
from launcher_core.hooks.find import FLAGS, list_plugins
from launcher_core.hooks.scan import scan

points = metadata.entry_points()
truth = [
    (point.group, point.name, point.value, point.dist.name, point.dist.version)
    for group in FLAGS
    for point in points.select(group=group)
]
quick = scan(sys.path)
print(json.dumps([sorted(truth), quick and sorted(quick), list_plugins(*FLAGS)]))
"""

CACHING = """
import sys
sys.executable = "/opt/python"  # where stevedore keeps a cache: it does not for what lies under /tmp
from launcher_core.hooks.find import FLAGS, find, list_plugins
from stevedore import ExtensionManager

if sys.argv[1] == "ours":
    list_plugins(*FLAGS)
    find("launcher.rendezvous", "c10d")
    try:
        find("launcher.rendezvous", "absent")
    except ValueError:
        pass
else:
    ExtensionManager("launcher.absent")
"""


def rows(table: str) -> list[list[str]]:
    return [line.split(maxsplit=4) for line in table.splitlines()]


def test_every_plugin_is_listed_with_its_distribution_version_and_file(launcher: Launcher, crowded: Site) -> None:
    done = launcher.run("--list-plugins")

    assert (done.code, done.err) == (0, "")
    header, *listed = rows(done.out)
    assert header == ["group", "name", "distribution", "version", "file"]
    outside = [row for row in listed if row[2] == "outside-launcher-plugin" and row[0] != "launcher.policies"]
    home = crowded.packages / "outside_plugin"
    assert [(row[0], row[1], Path(row[4]).relative_to(home).stem) for row in outside] == [
        ("launcher.rendezvous", "outside-alone", "alone"),
        ("launcher.rendezvous", "outside-directory", "directory"),
        ("launcher.rendezvous", "outside-object", "objects"),
        ("launcher.rendezvous", "outside-sharing", "alone"),
        ("launcher.logs_specs", "outside-files", "logs"),
        ("launcher.start_methods", "outside-failing", "starters"),
        ("launcher.start_methods", "outside-popen", "starters"),
        ("launcher.event_recorders", "outside-closing-badly", "recorders"),
        ("launcher.event_recorders", "outside-lines", "recorders"),
        ("launcher.event_recorders", "outside-raising", "recorders"),
    ]
    assert {row[3] for row in outside} == {"2.5"}
    assert [row[0] for row in listed if row[1] == "twin"] == [f"launcher.{group}" for group in GROUPS for _ in "12"]
    assert {row[4] for row in listed if row[1] == "absent-module"} == {"(unknown)"}


def test_the_launchers_own_plugins_are_listed_like_any_others(launcher: Launcher) -> None:
    done = launcher.run("--list-plugins")

    own = [row for row in rows(done.out) if row[2] == "launcher-core"]
    assert {(row[0], row[1]) for row in own} >= {
        ("launcher.rendezvous", "c10d"),
        ("launcher.rendezvous", "static"),
        ("launcher.stores", "c10d"),
        ("launcher.logs_specs", "default"),
        ("launcher.start_methods", "exec"),
        ("launcher.event_recorders", "null"),
    }
    assert all(Path(row[4]).is_file() for row in own)


@pytest.mark.parametrize(
    ("words", "imported"),
    [
        (("--list-plugins",), False),
        (("--rdzv-backend=absent", "worker.py"), False),
        (("--rdzv-backend=outside-alone", "worker.py"), False),
        (("--event-log-handler=null,value-error", "worker.py"), True),
    ],
    ids=["listing", "a name that nothing has", "another plugin", "that plugin"],
)
def test_a_plugin_is_imported_only_when_it_was_named(
    words: tuple[str, ...], imported: bool, launcher: Launcher, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    (launcher.tmp / "worker.py").write_text("pass")

    launcher.run(*words, env={"FAULTY_IMPORTED": str(trace)})

    assert trace.exists() is imported


def test_the_quick_look_and_the_listing_agree_with_importlib_where_many_plugins_are_installed(crowded: Site) -> None:
    truth, quick, listed = json.loads(crowded.run("-c", BOTH))

    assert quick == truth
    assert sorted(listed) == truth
    assert len(truth) > 100


@pytest.mark.parametrize(("whose", "written"), [("ours", False), ("stevedore's", True)])
def test_the_cache_of_stevedore_is_never_written(whose: str, written: bool, crowded: Site, tmp_path: Path) -> None:
    """The second case shows that there is a cache that would be written."""
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    cache.mkdir()

    crowded.run("-c", CACHING, whose, env={"HOME": str(home), "XDG_CACHE_HOME": str(cache)})

    assert list(home.rglob("*")) == []
    assert bool(list(cache.rglob("*"))) is written


def test_a_launch_writes_nothing_to_the_home_directory(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    home, cache = tmp_path / "home", tmp_path / "cache"
    home.mkdir()
    launcher.env |= {"HOME": str(home), "XDG_CACHE_HOME": str(cache)}

    codes = [
        launcher.run("--rdzv-backend=outside-alone", script("pass")).code,
        launcher.run("--rdzv-backend=absent", script("pass")).code,
        launcher.run("--list-plugins").code,
    ]

    assert codes == [0, 2, 0]
    assert (list(home.iterdir()), cache.exists()) == ([], False)
