"""docs/hooks.md is what specs.py and ports.py say, and the tutorial's plugins do what it says."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher_core.errors import UsageError
from launcher_core.hooks import ports, specs
from launcher_core.hooks.find import FLAGS
from launcher_core.hooks.manager import Plugins
from launcher_core.model.capability import Capability
from launcher_core.model.record import Event, EventSource
from launcher_core.model.settings import RendezvousParameters

DOCS = Path(__file__).resolve().parents[3] / "docs"
HOOKS = (DOCS / "hooks.md").read_text()
TUTORIAL = (DOCS / "plugin_tutorial.md").read_text()

RETURNED = (
    "RendezvousHandler", "RendezvousBackend", "WatchedBackend", "LeasedBackend",
    "Meeting", "Store", "LogsSpecs", "Starter", "Child", "Recorder", "Scene", "Watch",
)  # fmt: skip


def functions(node: Any) -> Iterator[ast.FunctionDef]:
    return (one for one in node.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"))


def signature(function: ast.FunctionDef) -> str:
    """The function as it is written, on one line and without `self`."""
    function.args.args = [one for one in function.args.args if one.arg != "self"]
    returns = ast.unparse(function.returns) if function.returns else ""
    if any(ast.unparse(one) == "property" for one in function.decorator_list):
        return f"{function.name}: {returns}"
    return f"{function.name}({ast.unparse(function.args)}) -> {returns}".replace(
        "token: Any | None=", "token: Any | None = "
    )


def hooks() -> list[str]:
    return [
        signature(one) for one in functions(ast.parse(inspect.getsource(specs))) if one.name.startswith(specs.PREFIX)
    ]


def methods() -> list[tuple[str, str]]:
    classes = [one for one in ast.parse(inspect.getsource(ports)).body if isinstance(one, ast.ClassDef)]
    return [(one.name, signature(each)) for one in classes if one.name in RETURNED for each in functions(one)]


@pytest.mark.parametrize("hook", hooks())
def test_every_hook_is_a_heading_with_its_exact_signature(hook: str) -> None:
    assert f"\n### `{hook}`\n" in HOOKS


def test_no_heading_is_about_a_hook_that_there_is_not() -> None:
    assert sorted(re.findall(r"^### `(.*)`$", HOOKS, re.MULTILINE)) == sorted(hooks())


@pytest.mark.parametrize(("shape", "method"), methods())
def test_every_method_of_what_hooks_return_stands_in_the_section_of_its_shape(shape: str, method: str) -> None:
    heading = "Starter" if shape == "Child" else shape
    section = HOOKS.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]

    assert f"\n- `{method}` " in section


def test_no_method_is_listed_that_there_is_not() -> None:
    shapes = HOOKS.partition("\n## Shapes\n")[2]

    assert sorted(re.findall(r"^- `(.*?)` ", shapes, re.MULTILINE)) == sorted(method for _, method in methods())


def test_every_group_stands_beside_its_flag() -> None:
    rows = re.findall(r"^\| `(launcher\.\w+)` \| `([^`]*)`.*\| (.*) \|$", HOOKS, re.MULTILINE)

    assert [group for group, _, _ in rows] == list(FLAGS)
    for group, flag, hook in rows:
        assert flag.replace("=", " ").startswith(f"{FLAGS[group]} ")
        assert hook == (f"`{specs.MAKERS[group]}`" if group in specs.MAKERS else "one or more of the policy hooks")


def test_every_capability_is_explained() -> None:
    explained = re.findall(r"^\| `([A-Z_]+)` \|", HOOKS, re.MULTILINE)

    assert sorted(explained) == sorted(one.name for one in Capability if one.name)


# --- the tutorial -----------------------------------------------------------------------------------------


def files() -> dict[str, str]:
    """The files that the tutorial shows, by name."""
    return {name: text for name, text in re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL)}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plugins]:
    """The tutorial's plugins, on the path and declared."""
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    info = tmp_path / "tutorial-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: tutorial\nVersion: 1.0\n")
    points = {"event_recorders": "states = launcher_states", "policies": "drain = launcher_drain",
              "rendezvous": "alone = launcher_alone"}  # fmt: skip
    (info / "entry_points.txt").write_text("".join(f"[launcher.{group}]\n{one}\n" for group, one in points.items()))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield Plugins()
    for name in ("launcher_states", "launcher_drain", "launcher_alone"):
        sys.modules.pop(name, None)


def test_the_first_plugin_has_fifteen_lines() -> None:
    assert len(files()["launcher_states.py"].splitlines()) == 15
    assert "states = launcher_states" in files()["setup.cfg"]


@pytest.mark.parametrize(("argument", "path"), [(None, "states.txt"), ("other", "other")])
def test_the_first_plugin_writes_a_line_for_each_event(
    argument: str | None, path: str, plugins: Plugins, tmp_path: Path
) -> None:
    recorder = plugins.choose("launcher.event_recorders", "states").ask(
        "launcher_make_recorder", argument=argument, log_dir=None
    )
    recorder.record(Event("x", EventSource.WORKER, 0, {"state": "START"}))
    recorder.close()

    assert (tmp_path / path).read_text() == "WORKER START\n"


def test_the_policy_keeps_a_node_out_while_the_file_is_there(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "drain"
    monkeypatch.setenv("DRAIN_FILE", str(file))
    policy = plugins.choose("launcher.policies", "drain")

    before = policy.ask("launcher_admit", node=None, round=0)
    file.touch()
    after = policy.ask("launcher_admit", node=None, round=1)

    assert (before, after) == (None, f"{file} is there")
    assert policy.ask("launcher_worker_env", worker=None, place=None) == {"DRAIN_FILE": str(file)}


def test_the_rendezvous_takes_a_port_and_refuses_what_is_no_number(plugins: Plugins) -> None:
    chosen = plugins.choose("launcher.rendezvous", "alone")

    def made(**conf: str) -> Any:
        params = RendezvousParameters("alone", "", "job", 1, 1, **conf)
        return chosen.ask("launcher_make_rendezvous", params=params, store=None)

    info = made(port="12345").next_rendezvous()
    with pytest.raises(UsageError, match=r"^--rdzv-conf port='many': write a whole number$"):
        made(port="many")

    assert list(chosen.declaration().keys or ()) == ["port"]
    assert (info.rank, info.world_size, info.bootstrap_store_info.master_port) == (0, 1, 12345)
