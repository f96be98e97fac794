"""One name of one group: found, imported, or refused with what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher_core.errors import PluginError
from launcher_core.hooks.find import Installed, file_of, find, load
from launcher_core.hooks.scan import Found

Make = Callable[..., Path]
Module = Callable[[str, str], Path]

OFFERED = "launcher.rendezvous"


def plugin(value: str) -> Found:
    return Found(OFFERED, "mine", value, "Outside", "1.0")


def refusal(value: str) -> str:
    with pytest.raises(PluginError) as caught:
        load(plugin(value))
    assert caught.value.exit_code == 2
    return str(caught.value)


WHOSE = "--rdzv-backend=mine: the plugin of Outside 1.0"


def test_a_plugin_is_found_by_group_and_name(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[launcher.rendezvous]\nmine = a\nother = b\n[launcher.stores]\nmine = c\n"
    monkeypatch.setattr(sys, "path", [str(make("site/outside-1.0.dist-info", points, name="Outside"))])

    assert find("launcher.stores", "mine") == Found("launcher.stores", "mine", "c", "Outside", "1.0")


def test_a_path_is_read_once_for_all_plugins_of_a_launch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(make("site/a-1.0.dist-info", "[launcher.stores]\nmine = c\n", name="a"))])
    installed = Installed()
    found = installed.find("launcher.stores", "mine")
    monkeypatch.setattr(sys, "path", [])

    assert installed.find("launcher.stores", "mine") == found


def test_what_was_installed_since_is_found_all_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    installed = Installed()
    with pytest.raises(PluginError):
        installed.find("launcher.stores", "mine")
    monkeypatch.setattr(sys, "path", [str(make("site/a-1.0.dist-info", "[launcher.stores]\nmine = c\n", name="a"))])

    assert installed.find("launcher.stores", "mine") == Found("launcher.stores", "mine", "c", "a", "1.0")


@pytest.mark.parametrize(
    ("points", "group", "name", "sentence"),
    [
        (
            "",
            "launcher.stores",
            "c10d",
            "--rdzv-conf store=c10d: no plugin of that name is installed (launcher.stores); none is: "
            "pip install launcher-core brings the usual ones",
        ),
        (
            "",
            "launcher.policies",
            "any",
            "--policy=any: no plugin of that name is installed (launcher.policies); none is",
        ),
        (
            "[launcher.stores]\nc10d = a\nredis = b\n",
            "launcher.stores",
            "c10",
            "--rdzv-conf store=c10: no plugin of that name is installed (launcher.stores); did you mean c10d? "
            "installed: c10d (Outside 1.0), redis (Outside 1.0)",
        ),
        (
            "[launcher.stores]\nredis = b\n",
            "launcher.stores",
            "c10d",
            "--rdzv-conf store=c10d: no plugin of that name is installed (launcher.stores); "
            "installed: redis (Outside 1.0)",
        ),
    ],
)
def test_a_name_that_nothing_has_is_refused(
    points: str, group: str, name: str, sentence: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(make("site/outside-1.0.dist-info", points, name="Outside"))])

    with pytest.raises(PluginError) as caught:
        find(group, name)

    assert str(caught.value) == sentence


def test_one_name_of_two_distributions_is_refused_with_both(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[launcher.stores]\nmine = c\n"
    make("site/a-1.0.dist-info", points, name="a")
    monkeypatch.setattr(sys, "path", [str(make("site/b-2.0.dist-info", points, name="b", version="2.0"))])

    with pytest.raises(PluginError) as caught:
        find("launcher.stores", "mine")

    assert str(caught.value) == (
        "--rdzv-conf store=mine: a 1.0 and b 2.0 install plugins of the same name (launcher.stores); "
        "uninstall all but one of them"
    )


def test_a_module_an_attribute_of_it_and_an_attribute_of_that_may_be_plugins(module: Module) -> None:
    module("found_a.b", "class Holder:\n    inner = 'the inner one'\n\nholder = Holder()\n")

    loaded = [load(plugin(value)) for value in ("found_a.b", "found_a.b:holder", "found_a.b:holder.inner")]

    assert loaded == [sys.modules["found_a.b"], sys.modules["found_a.b"].holder, "the inner one"]


def test_a_class_is_called(module: Module) -> None:
    module("found_class", "class Plugin:\n    pass\n")

    assert type(load(plugin("found_class:Plugin"))) is sys.modules["found_class"].Plugin


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "import absent_one.two\n",
            f"{WHOSE} needs absent_one, which is not installed: pip install absent_one",
        ),
        (
            "from faulty_one import two\nfrom faulty_one.absent import x\n",
            f"{WHOSE} cannot be imported: its module faulty_one.two does not exist; install it anew",
        ),
        (
            "import launcher_core.absent\n",
            f"{WHOSE} needs launcher_core.absent, which this version of the launcher does not have; upgrade one of "
            "them",
        ),
        ("raise ModuleNotFoundError\n", f"{WHOSE} failed to import: ModuleNotFoundError"),
        ("import os\n\nlimit = int('many')\n", "{0}:3): ValueError: invalid literal for int() with base 10: 'many'"),
        ("import json\njson.loads('{')\n", "{0}:2): JSONDecodeError: Expecting property name enclosed in double "
         "quotes: line 1 column 2 (char 1)"),
        ("def plugin(:\n", "{0}:1): SyntaxError: invalid syntax (faulty_one.py, line 1)"),
        ("raise ImportError('first\\n\\n   second')\n", "{0}:1): ImportError: first second"),
        ("raise AssertionError\n", "{0}:1): AssertionError"),
        ("import sys\nsys.exit()\n", "{0}:2): SystemExit"),
        ("class Plugin:\n    def __init__(self):\n        self.port = {}['port']\n", "{0}:3): KeyError: 'port'"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_is_refused_with_whose_it_is_and_where(
    source: str, sentence: str, module: Module
) -> None:
    path = module("faulty_one", source)
    value = "faulty_one:Plugin" if "class Plugin" in source else "faulty_one"
    if "faulty_one.absent" in source:
        value = "faulty_one.two"

    expected = sentence if sentence.startswith(WHOSE) else f"{WHOSE} failed to import ({sentence.format(path)}"
    if value == "faulty_one.two":
        path.unlink()
        module("faulty_one.__init__", "")
    assert refusal(value) == expected


@pytest.mark.parametrize("value", ["", "a b", "a.b:", "a..b", "a:b:c", "a.b # c"])
def test_a_value_that_names_nothing_is_refused(value: str) -> None:
    assert refusal(value) == f"{WHOSE} is declared as {value!r}, which is neither MODULE nor MODULE:ATTRIBUTE"


def test_an_attribute_that_is_not_there_is_refused(module: Module) -> None:
    module("found_d", "")

    assert refusal("found_d:absent.x") == (
        f"{WHOSE} is declared as found_d:absent.x, but there is no absent in it; install another version"
    )


def test_the_file_of_a_plugin_is_found_without_importing_its_parents(module: Module) -> None:
    module("listed_a.__init__", "raise AssertionError('imported')")
    inner = module("listed_a.b.c", "raise AssertionError('imported')")
    alone = module("listed_d", "raise AssertionError('imported')")
    values = ("listed_a.b.c:plugin", "listed_d", "listed_a.absent", "listed_d.e", "absent_of_all", "")

    files = [file_of(plugin(value)) for value in values]

    assert files == [str(inner), str(alone), "", "", "", ""]
    assert not {"listed_a", "listed_a.b", "listed_d"} & set(sys.modules)


def test_the_file_of_a_plugin_in_nested_namespace_packages_is_found(module: Module) -> None:
    inner = module("listed_space.below.c", "raise AssertionError('imported')")

    assert file_of(plugin("listed_space.below.c")) == str(inner)


def test_a_finder_that_raises_leaves_the_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            raise RuntimeError("no")

    monkeypatch.setattr(sys, "meta_path", [Finder])

    assert file_of(plugin("listed_f")) == ""
