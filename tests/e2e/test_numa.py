"""--numa-binding in real launches: workers run on the CPUs that the plan gave them, and nothing else changes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher_core.errors import UsageError
from launcher_core.launch import elastic_launch
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules.numa import MODES, cpu_list
from launcher_core.runtime.topology import bindings

BIN = Path(__file__).parent / "bin"
SHOW = BIN / "show_cpus.py"
OWN = sorted(os.sched_getaffinity(0))


class Options(NamedTuple):
    """Shaped like torch's NumaOptions."""

    affinity_mode: str
    should_fall_back_if_binding_fails: bool = False


@pytest.fixture
def show_cpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """A function for workers, which new interpreters can import."""
    monkeypatch.syspath_prepend(BIN)
    from show_cpus import cpus

    return cpus  # type: ignore[no-any-return]


def workers(mode: str) -> int:
    """Two, or as many as there are cores for."""
    siblings = [Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in OWN]
    cores = {path.read_text() if path.exists() else str(path) for path in siblings}
    return min(2, len(cores)) if mode == "exclusive" else 2


def planned(launcher: Any, *args: str) -> dict[str, list[int]]:
    """Local rank -> CPUs, as --dry-run=json says."""
    result = launcher.run("--dry-run=json", *args, SHOW)
    assert result.code == 0, result.err
    return {str(worker["local_rank"]): worker["cpus"] for worker in json.loads(result.out)["workers"]}


def config(method: str, count: int, options: Any) -> LaunchConfig:
    return LaunchConfig(1, 1, count, start_method=method, numa_options=options, max_restarts=0)


# --- commands ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_programs_run_on_the_planned_cpus_and_the_launcher_where_it_did(
    mode: str, launcher: Any, until: Callable[..., Any], tmp_path: Path
) -> None:
    args = [f"--numa-binding={mode}", f"--nproc-per-node={workers(mode)}"]
    plan = planned(launcher, *args)
    running = launcher.start(*args, SHOW, tmp_path)
    shown = [tmp_path / rank for rank in plan]
    until(lambda: all(path.exists() for path in shown) or running.process.poll() is not None, "workers ran")
    assert running.process.poll() is None, running.err
    until(lambda: sorted(os.sched_getaffinity(running.pid)) == OWN, "the launcher has its CPUs back")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 128 + signal.SIGTERM
    assert {rank: json.loads((tmp_path / rank).read_text()) for rank in plan} == plan
    assert all(cpus and set(cpus) <= set(OWN) for cpus in plan.values())


def test_exclusive_workers_share_no_cpu(launcher: Any) -> None:
    plan = planned(launcher, "--numa-binding=exclusive", f"--nproc-per-node={workers('exclusive')}")
    used = [cpu for cpus in plan.values() for cpu in cpus]
    assert sorted(set(used)) == sorted(used)


@pytest.mark.parametrize("mode", MODES)
def test_a_launcher_that_may_use_one_cpu_binds_to_that_one(mode: str, launcher: Any) -> None:
    one = OWN[-1]
    running = launcher.start(
        f"--numa-binding={mode}",
        "--no-python",
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
        preexec_fn=lambda: os.sched_setaffinity(0, {one}),
    )
    result = running.wait()
    assert (result.code, result.out) == (0, f"Cpus_allowed_list:\t{one}\n")


def test_without_the_option_workers_may_run_wherever_the_launcher_may(launcher: Any) -> None:
    result = launcher.run("--no-python", "grep", "Cpus_allowed_list", "/proc/self/status")
    assert (result.code, result.out) == (0, f"Cpus_allowed_list:\t{cpu_list(OWN)}\n")


# --- functions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", ["exclusive", Options("exclusive")], ids=["name", "object"])
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_functions_run_on_the_planned_cpus_and_their_caller_where_it_did(
    method: str, options: Any, in_process: Any, show_cpus: Callable[[], list[int]]
) -> None:
    count = workers("exclusive")
    values = in_process.call(elastic_launch_of(config(method, count, options), show_cpus))
    plan = bindings("exclusive", count, os.environ)
    assert values == {rank: sorted(plan[rank].cpus) for rank in range(count)}
    assert sorted(os.sched_getaffinity(0)) == OWN


def elastic_launch_of(config: LaunchConfig, function: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: elastic_launch(config, function)()


# --- what cannot be had -----------------------------------------------------------------------------------


def test_an_unknown_mode_is_refused(launcher: Any) -> None:
    result = launcher.run("--numa-binding=near", SHOW)
    assert result.code == 2
    assert "--numa-binding=near: write one of node, socket, exclusive, core-complex" in result.err


def test_more_exclusive_workers_than_cores_are_refused_and_nothing_is_started(launcher: Any, tmp_path: Path) -> None:
    result = launcher.run("--numa-binding=exclusive", "--nproc-per-node=4096", SHOW, tmp_path)
    assert result.code == 2
    assert "need a core each, and this process may use" in result.err
    assert not (tmp_path / "0").exists()


def test_a_binding_that_fails_is_done_without_where_the_caller_said_so(
    in_process: Any, show_cpus: Callable[[], list[int]], capfd: pytest.CaptureFixture[str]
) -> None:
    many = len(OWN) + 1
    with pytest.raises(UsageError, match=r"--numa-binding=exclusive: .* need a core each"):
        elastic_launch(config("fork", many, Options("exclusive")), show_cpus)()
    values = in_process.call(elastic_launch_of(config("fork", many, Options("exclusive", True)), show_cpus))
    assert values == dict.fromkeys(range(many), OWN)
    assert "workers are not bound to CPUs: --numa-binding=exclusive: " in capfd.readouterr().err


# --- --dry-run --------------------------------------------------------------------------------------------


def test_a_dry_run_shows_each_workers_cpus_and_why(launcher: Any) -> None:
    result = launcher.run("--dry-run", "--numa-binding=node", "--nproc-per-node=2", SHOW)
    section = result.out.partition("\nCPUs:\n")[2].partition("\n\n")[0]
    plan = bindings("node", 2, os.environ)
    rows = [f"local rank {rank} {cpu_list(one.cpus)} {one.reason}" for rank, one in enumerate(plan)]
    assert [" ".join(line.split()) for line in section.splitlines()] == rows


def test_a_dry_run_without_the_option_speaks_of_no_cpus(launcher: Any) -> None:
    assert "\nCPUs:\n" not in launcher.run("--dry-run", SHOW).out
    assert planned(launcher) == {"0": None}
