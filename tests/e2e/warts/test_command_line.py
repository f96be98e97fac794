"""The command line: what was given is used or spoken of, and mistakes are told before anything happens."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, until

Script = Callable[..., Path]
QUIET = {"OMP_NUM_THREADS": "1"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("flag", ["--nproc", "--nproc-per", "--nproc_per", "--nproc_per_node", "--np"])
def test_an_option_may_be_abbreviated_though_it_has_two_spellings(
    launcher: Launcher, script: Script, here: Path, flag: str
) -> None:
    assert launcher.run(flag, "2", script("leave(rank)"), env=QUIET) == (0, "", "")
    assert names(here) == {"0", "1"}


@pytest.mark.parametrize("alone", [[], ["--standalone"], ["--rdzv-backend=static"], ["--master-addr=127.0.0.1"]])
def test_a_run_id_that_was_given_is_the_jobs(launcher: Launcher, script: Script, here: Path, alone: list[str]) -> None:
    worker = script("leave(os.environ['TORCHELASTIC_RUN_ID'])")
    assert launcher.run("--rdzv-id=foo", *alone, worker).code == 0
    assert names(here) == {"foo"}


def test_a_master_address_that_was_given_is_the_workers(launcher: Launcher, script: Script, here: Path) -> None:
    worker = script("leave(os.environ['MASTER_ADDR'])")
    result = launcher.run("--master-addr=127.0.0.3", worker)
    assert (result.code, names(here)) == (0, {"127.0.0.3"})
    assert result.err == ("launcher: --master-addr=127.0.0.3 without --master-port: meeting there, at a free port\n")


@pytest.mark.parametrize("conf", ["'join_timeout=9,'", '"join_timeout=9"', " join_timeout = 9 , "])
def test_quotes_blanks_and_a_last_comma_do_not_change_the_rendezvous_settings(
    launcher: Launcher, script: Script, conf: str
) -> None:
    result = launcher.run("--dry-run", "--rdzv-backend=c10d", f"--rdzv-conf={conf}", script(""))
    assert result.code == 0
    assert any(line.split() == ["join_timeout", "9", "s"] for line in result.out.splitlines())


@pytest.mark.parametrize("yes", ["1", "true", "True", "yes", "on", " 1 "])
def test_a_switch_may_be_set_by_a_word(launcher: Launcher, tmp_path: Path, yes: str) -> None:
    assert launcher.run("/bin/echo", "said", env={"PET_NO_PYTHON": yes}) == (0, "said\n", "")


def test_every_setting_of_a_launch_has_a_variable(launcher: Launcher, script: Script) -> None:
    variables = {"PET_LOGS_SPECS": "nowhere", "PET_NUMA_BINDING": "node"}
    result = launcher.run(script(""), env=variables)
    assert result.code == 2
    assert "--logs-specs=nowhere: no plugin of that name" in result.err
    result = launcher.run("--dry-run", script(""), env={"PET_NUMA_BINDING": "node"})
    assert result.code == 0
    assert "PET_NUMA_BINDING" in result.out


@pytest.mark.parametrize("level", ["info", "INFO", "10", "", "loud"])
def test_loglevel_never_ends_a_launch(launcher: Launcher, script: Script, level: str) -> None:
    assert launcher.run(script("print(os.environ['LOGLEVEL'])"), env={"LOGLEVEL": level}) == (0, f"{level}\n", "")


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_script_inside_the_workers_interpreter_may_be_named_and_import_as_outside(
    launcher: Launcher, script: Script, tmp_path: Path, method: str
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "sibling.py").write_text("NAME = 'sibling'\n")
    script("import sibling\nprint(sibling.NAME, __name__, sys.argv)\n", name="job/main.py")
    result = launcher.run("--run-path", f"--start-method={method}", "job/main.py", "--flag")
    assert result == (0, "sibling __main__ ['job/main.py', '--flag']\n", "")


def test_launches_on_one_machine_do_not_meet_each_other(launcher: Launcher, script: Script, here: Path) -> None:
    worker = script("leave(f'{sys.argv[1]}.{rank}', os.environ['MASTER_PORT'])\nuntil('go')\n")
    running = [launcher.start("--nproc-per-node=2", worker, number, env=QUIET) for number in range(4)]
    expected = {f"{number}.{rank}" for number in range(4) for rank in range(2)}
    until(lambda: names(here) == expected, "all workers are there")
    ports = {number: {(here / f"{number}.{rank}").read_text() for rank in range(2)} for number in range(4)}
    (here / "go").touch()
    assert [one.wait(20).code for one in running] == [0] * 4
    assert all(len(of_one) == 1 for of_one in ports.values())
    assert len(set.union(*ports.values())) == 4


def test_a_mistake_is_told_before_anything_is_started_or_created(
    launcher: Launcher, script: Script, here: Path, tmp_path: Path
) -> None:
    worker = script("leave(rank)")
    before = names(tmp_path)
    result = launcher.run("--max-restarts=-1", f"--log-dir={tmp_path / 'logs'}", "--redirects=3", worker)
    assert (result.code, result.err) == (2, "launcher: error: --max-restarts=-1: write 0 or more\n")
    assert names(here) == set()
    assert names(tmp_path) - before <= {"launch0.out", "launch0.err"}


def test_workers_are_bound_to_cpus_without_any_program_for_it(
    launcher: Launcher, script: Script, tmp_path: Path
) -> None:
    """With an empty PATH there is no numactl, and this machine needs no accelerator."""
    worker = script("print(len(os.sched_getaffinity(0)) > 0)")
    result = launcher.run("--numa-binding=node", worker, env={"PATH": str(tmp_path), "PYTHON_EXEC": sys.executable})
    assert (result.code, result.out) == (0, "True\n")
