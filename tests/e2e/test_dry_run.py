"""--dry-run: the whole plan and where each setting is from, for people and programs; nothing is started or bound."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess
from launches import Launcher

from launcher_core import __version__

BIN = Path(__file__).parent / "bin"
TOUCH_PY, DUMP = BIN / "touch_rank.py", BIN / "dump_worker.py"
SECTIONS = (
    "Settings:",
    "Plugins:",
    "Rendezvous:",
    "Timeouts:",
    "Workers:",
    "Added to each worker's environment (by local rank where it differs):",
)
AT_START = "(known when the workers start)"


def plan(launcher: Launcher, *args: object, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The plan as programs get it; nothing else is written."""
    result = launcher.run("--dry-run=json", *args, env=env)
    assert (result.code, result.err) == (0, "")
    found: dict[str, Any] = json.loads(result.out)
    return found


def settings(found: dict[str, Any]) -> dict[str, tuple[Any, str, str]]:
    """(value, kind, source) of each setting."""
    return {one["name"]: (one["value"], one["kind"], one["source"]) for one in found["settings"]}


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.name.startswith("launch")}


@pytest.mark.parametrize("flag", ["--dry-run", "--dry-run=text", "--dry-run=json", "--dry_run"])
def test_nothing_is_started_or_created(launcher: Launcher, tmp_path: Path, flag: str) -> None:
    before = everything(tmp_path)
    options = [f"--log-dir={tmp_path / 'logs'}", "--tee=3", "--nproc-per-node=2"]
    result = launcher.run(flag, *options, TOUCH_PY, f"--touch-file-dir={tmp_path}")
    assert (result.code, result.err) == (0, "")
    assert everything(tmp_path) == before


def test_nothing_is_bound(launcher: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = plan(launcher, f"--master-port={port}", TOUCH_PY)
    assert found["rendezvous"]["MASTER_PORT"] == str(port)


def test_the_plan_goes_to_the_stdout_of_the_calling_process(
    in_process: InProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    in_process.main("--dry-run", TOUCH_PY)
    out, err = capsys.readouterr()
    assert ([line for line in out.splitlines() if line in SECTIONS], err) == (list(SECTIONS), "")


def test_people_get_sections_with_what_was_chosen_first(launcher: Launcher) -> None:
    result = launcher.run(
        "--dry-run", "--nproc-per-node=2", "--role=x y", TOUCH_PY, "a b", env={"PET_MAX_RESTARTS": "3"}
    )
    lines = result.out.splitlines()
    assert [line for line in lines if line in SECTIONS] == list(SECTIONS)
    assert lines[:2] == [
        "Notices:",
        "  OMP_NUM_THREADS=1 for each of the 2 workers; set the variable to have more threads",
    ]
    begin = lines.index("Settings:") + 1
    rows = [line.split(maxsplit=1)[0] for line in lines[begin : begin + 7]]
    assert set(rows) == {
        "--nproc-per-node",
        "--rdzv-backend",
        "--rdzv-endpoint",
        "--rdzv-id",
        "--max-restarts",
        "--role",
        "OMP_NUM_THREADS",
    }
    assert f"  local rank 1  rank 1  {sys.executable} -u {TOUCH_PY} 'a b'" in lines


def test_programs_get_at_least_these_keys(launcher: Launcher) -> None:
    found = plan(launcher, TOUCH_PY)
    assert (found["schema"], list(found)) == (
        1,
        ["schema", "notices", "settings", "plugins", "rendezvous", "timeouts", "workers"],
    )
    wanted = {
        "settings": {"name", "value", "kind", "source"},
        "plugins": {"group", "name", "distribution", "version", "file"},
        "timeouts": {"name", "seconds", "source"},
        "workers": {"local_rank", "rank", "role_rank", "function", "command", "environment"},
    }
    assert {name: wanted[name] - one.keys() for name in wanted for one in found[name]} == {
        name: set() for name in wanted
    }


def test_every_setting_says_what_set_it(launcher: Launcher) -> None:
    env = {"PET_MAX_RESTARTS": "3", "PET_ROLE": "ps", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "7"}
    found = settings(plan(launcher, "--role=trainer", "-r3", "--nproc-per-node=1", TOUCH_PY, env=env))
    assert {
        name: found[name]
        for name in (
            "--role",
            "--redirects",
            "--max-restarts",
            "--shutdown-timeout",
            "--tee",
            "--rdzv-backend",
            "--nproc-per-node",
        )
    } == {
        "--role": ("trainer", "flag", "--role=trainer"),
        "--redirects": ("3", "flag", "-r3"),
        "--max-restarts": (3, "variable", "PET_MAX_RESTARTS"),
        "--shutdown-timeout": (7.0, "variable", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"),
        "--tee": ("0", "default", "default"),
        "--rdzv-backend": ("c10d", "rule", "one node, no port given"),
        "--nproc-per-node": (1, "flag", "--nproc-per-node=1"),
    }


def test_the_plugins_that_would_be_used_are_named_with_their_files(launcher: Launcher) -> None:
    found = plan(launcher, "--event-log-handler=console,jsonl", "--run-path", TOUCH_PY)
    assert [(one["group"], one["name"], one["distribution"], one["version"]) for one in found["plugins"]] == [
        ("launcher.rendezvous", "c10d", "launcher-core", __version__),
        ("launcher.stores", "c10d", "launcher-core", __version__),
        ("launcher.logs_specs", "default", "launcher-core", __version__),
        ("launcher.start_methods", "spawn", "launcher-core", __version__),
        ("launcher.event_recorders", "console", "launcher-core", __version__),
        ("launcher.event_recorders", "jsonl", "launcher-core", __version__),
    ]
    assert all(Path(one["file"]).is_file() for one in found["plugins"])
    assert [(one["function"], one["command"]) for one in found["workers"]] == [("run_script_path", [str(TOUCH_PY)])]


def test_of_very_many_workers_only_the_first_are_listed(launcher: Launcher) -> None:
    shown = launcher.run("--dry-run", "--nproc-per-node=3000000", str(TOUCH_PY), timeout=20)

    assert shown.code == 0, shown.err
    assert "\n  and 2999936 more, local ranks 64 to 2999999 (--dry-run=json lists all)\n" in shown.out
    assert " | 62 | 63 | ...\n" in shown.out
    assert ["WORLD_SIZE", "3000000"] in [line.split() for line in shown.out.splitlines()]
    assert "local rank 64 " not in shown.out


def test_for_programs_all_workers_are_listed(launcher: Launcher) -> None:
    assert len(plan(launcher, "--nproc-per-node=100", str(TOUCH_PY))["workers"]) == 100


def test_what_is_planned_is_what_workers_get(launcher: Launcher, tmp_path: Path) -> None:
    launcher.env["LC_ALL"] = "C.UTF-8"
    dumps = tmp_path / "dumps"
    dumps.mkdir()
    options = ["--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-id=job", "--max-restarts=2", "--role=trainer"]
    planned = plan(launcher, *options, DUMP, dumps, "${local_rank}")["workers"]
    assert launcher.run(*options, DUMP, dumps, "${local_rank}").code == 0
    for worker in planned:
        given = json.loads((dumps / f"{worker['rank']}.0.json").read_text())
        assert worker["command"] == [given["executable"], "-u", *given["argv"]]
        real = {name: value for name, value in given["environ"].items() if launcher.env.get(name) != value}
        later = {name for name, value in worker["environment"].items() if value.startswith("(")}
        assert later == {"LAUNCHER_AGENT", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE"}
        assert {**worker["environment"], **{name: real[name] for name in later}} == real


def test_with_several_nodes_the_ranks_are_known_only_later(launcher: Launcher) -> None:
    found = plan(
        launcher,
        "--nnodes=1:4",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=localhost:29400",
        "--nproc-per-node=2",
        TOUCH_PY,
        env={"OMP_NUM_THREADS": "1"},
    )
    assert [(one["local_rank"], one["rank"], one["role_rank"]) for one in found["workers"]] == [
        (0, None, None),
        (1, None, None),
    ]
    environment = found["workers"][1]["environment"]
    assert {name for name, value in environment.items() if value == AT_START} == {
        "RANK",
        "GROUP_RANK",
        "ROLE_RANK",
        "WORLD_SIZE",
        "GROUP_WORLD_SIZE",
        "ROLE_WORLD_SIZE",
        "LAUNCHER_AGENT",
        "TORCHELASTIC_ERROR_FILE",
    }
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("localhost", "29400")


def test_a_wrong_request_is_refused_as_without_it(launcher: Launcher) -> None:
    for args in (["--nnodes=0", TOUCH_PY], ["--logs-specs=none", TOUCH_PY], ["missing.py"]):
        assert launcher.run("--dry-run", *args) == launcher.run(*args)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8:strict", "utf-8:surrogateescape"])
def test_any_word_can_be_shown_whatever_stdout_takes(launcher: Launcher, encoding: str) -> None:
    env, words = {"PYTHONIOENCODING": encoding}, ["--role=caf\u00e9", TOUCH_PY, "\udcff", "\u00e9"]
    found = plan(launcher, *words, env=env)
    assert found["workers"][0]["command"][-2:] == ["\udcff", "\u00e9"]
    assert settings(found)["--role"][0] == "caf\u00e9"
    result = launcher.run("--dry-run", *words, env=env)
    assert (result.code, result.err) == (0, "")
