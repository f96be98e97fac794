"""What --dry-run shows."""

from __future__ import annotations

import json

from launcher_core.cli.parse import Origin
from launcher_core.cli.plan import (
    Plan,
    PlannedPlugin,
    PlannedTimeout,
    PlannedWorker,
    Setting,
    as_json,
    as_text,
    settings_of,
)
from launcher_core.model.logs import Std

PLAN = Plan(
    settings=(
        Setting("--role", "default", "default", "default"),
        Setting("--nproc-per-node", 2, "flag", "--nproc=auto"),
        Setting("--log-dir", None, "default", "default"),
        Setting("--rdzv-endpoint", "127.0.0.1:0", "rule", "--standalone"),
    ),
    plugins=(
        PlannedPlugin("launcher.rendezvous", "c10d", "launcher-core", "0.1.0", "/site/c10d/__init__.py"),
        PlannedPlugin("launcher.stores", "mine", "fast-store", "2", "/site/fast.py"),
    ),
    rendezvous={"endpoint": "127.0.0.1:0", "host": "this node: the address is its own"},
    timeouts=(PlannedTimeout("join", 600.0, "--rdzv-conf join_timeout"), PlannedTimeout("run", None)),
    workers=(
        PlannedWorker(0, ("python", "-u", "s.py", "a b"), {"RANK": "0", "WORLD_SIZE": "2", "ONLY": ""}, 0, 0),
        PlannedWorker(1, ("python", "-u", "s.py", "a b"), {"RANK": "1", "WORLD_SIZE": "2"}, 1, 1),
    ),
    notices=("OMP_NUM_THREADS=1 for each of the 2 workers",),
)

TEXT = """\
Notices:
  OMP_NUM_THREADS=1 for each of the 2 workers

Settings:
  --nproc-per-node  2            flag: --nproc=auto
  --rdzv-endpoint   127.0.0.1:0  rule: --standalone
  --role            default      default
  --log-dir         -            default

Plugins:
  launcher.rendezvous  c10d  launcher-core 0.1.0  /site/c10d/__init__.py
  launcher.stores      mine  fast-store 2         /site/fast.py

Rendezvous:
  endpoint  127.0.0.1:0
  host      this node: the address is its own

Timeouts:
  join  600 s     --rdzv-conf join_timeout
  run   no limit

Workers:
  local rank 0  rank 0  python -u s.py 'a b'
  local rank 1  rank 1  python -u s.py 'a b'

Added to each worker's environment (by local rank where it differs):
  ONLY        '' | -
  RANK        0 | 1
  WORLD_SIZE  2"""


def test_a_plan_is_shown_in_aligned_sections_with_what_was_chosen_first() -> None:
    assert as_text(PLAN) == TEXT


def test_sections_without_anything_are_left_out() -> None:
    assert as_text(Plan((), (), {}, (), ())) == ""


def test_a_function_and_ranks_that_are_not_known_yet_are_shown_as_such() -> None:
    worker = PlannedWorker(0, ("s.py",), {}, function="run_script_path")
    assert as_text(Plan((), (), {}, (), (worker,))) == (
        "Workers:\n  local rank 0  rank known when the nodes have met  run_script_path: s.py"
    )


def test_the_json_has_everything_under_names_that_stay() -> None:
    document = json.loads(as_json(PLAN))
    assert list(document) == ["schema", "notices", "settings", "plugins", "rendezvous", "timeouts", "workers"]
    assert document["schema"] == 1
    assert document["notices"] == list(PLAN.notices)
    assert document["settings"][1:3] == [
        {"name": "--nproc-per-node", "value": 2, "kind": "flag", "source": "--nproc=auto"},
        {"name": "--log-dir", "value": None, "kind": "default", "source": "default"},
    ]
    assert document["plugins"][1] == {
        "group": "launcher.stores",
        "name": "mine",
        "distribution": "fast-store",
        "version": "2",
        "file": "/site/fast.py",
    }
    assert document["rendezvous"] == PLAN.rendezvous
    assert document["timeouts"] == [
        {"name": "join", "seconds": 600.0, "source": "--rdzv-conf join_timeout"},
        {"name": "run", "seconds": None, "source": ""},
    ]
    assert document["workers"][1] == {
        "local_rank": 1,
        "rank": 1,
        "role_rank": 1,
        "function": None,
        "command": ["python", "-u", "s.py", "a b"],
        "environment": {"RANK": "1", "WORLD_SIZE": "2"},
        "cpus": None,
        "cpus_reason": "",
    }


def test_settings_become_what_json_knows() -> None:
    origin = {
        "redirects": Origin(Std.ALL, "flag", "-r3"),
        "tee": Origin({0: Std.OUT, 1: Std.ERR}, "flag", "-t"),
        "rdzv_conf": Origin({"a": "1", "b": "2"}, "flag", "--rdzv-conf=a=1,b=2"),
        "local_ranks_filter": Origin(frozenset({3, 1}), "flag", "x"),
        "policy": Origin(("p", "q"), "variable", "PET_POLICY"),
        "duplicate_stdout_filters": Origin([], "default", "default"),
        "OMP_NUM_THREADS": Origin("1", "rule", "several workers"),
    }
    assert settings_of(origin) == (
        Setting("--redirects", "3", "flag", "-r3"),
        Setting("--tee", "0:1,1:2", "flag", "-t"),
        Setting("--rdzv-conf", "a=1,b=2", "flag", "--rdzv-conf=a=1,b=2"),
        Setting("--local-ranks-filter", [1, 3], "flag", "x"),
        Setting("--policy", ["p", "q"], "variable", "PET_POLICY"),
        Setting("--duplicate-stdout-filters", [], "default", "default"),
        Setting("OMP_NUM_THREADS", "1", "rule", "several workers"),
    )


def test_yes_and_no_and_blanks_can_be_told_apart() -> None:
    values: tuple[object, ...] = (True, False, "", " x", "a\nb", [], ["a", 1], 0.1)
    settings = tuple(Setting(f"--{index}", value, "flag", "f") for index, value in enumerate(values))
    lines = as_text(Plan(settings, (), {}, (), ())).splitlines()[1:]
    shown = [line.split("  ")[2].strip() for line in lines]
    assert shown == ["yes", "no", "''", "' x'", "'a\\nb'", "-", "a,1", "0.1"]
