"""A plugin of another distribution is found once it is installed, chosen by its flag, and gone once uninstalled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher
from sites import Site, source_copy

HERE = Path(__file__).parent


def calls(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_plugin_is_there_once_pip_has_installed_it_and_gone_once_pip_has_uninstalled_it(
    tmp_path: Path, launcher_of: Callable[[Path], Launcher], script: Callable[[str], Path]
) -> None:
    site = Site(tmp_path / "site")
    launcher = launcher_of(site.python)
    logs = tmp_path / "logs"
    launch = (
        "--logs_specs=outside-files",
        "--rdzv-backend=outside-alone",
        f"--log-dir={logs}",
        script("print('rank', os.environ['RANK'])"),
    )

    before = launcher.run(*launch)
    site.install(source_copy(HERE / "plugin", tmp_path / "source"))
    installed = launcher.run(*launch)
    written = (logs / "worker0.txt").read_text()
    site.uninstall("outside-launcher-plugin")
    after = launcher.run(*launch)

    assert (before.code, installed.code, after.code) == (2, 0, 2)
    assert written == "rank 0\n"
    for refused in (before, after):
        assert refused.err.startswith(
            "launcher: error: --rdzv-backend=outside-alone: no plugin of that name is installed (launcher.rendezvous)"
        )


def test_outside_logs_specs_choose_the_files(launcher: Launcher, script: Callable[[str], Path], tmp_path: Path) -> None:
    worker = script("print('out', os.environ['RANK'], flush=True); print('err', file=sys.stderr)")

    done = launcher.run("--nproc-per-node=2", "--logs-specs=outside-files", f"--log-dir={tmp_path / 'logs'}", worker)

    assert done.code == 0, done.err
    texts = {path.name: path.read_text() for path in (tmp_path / "logs").iterdir()}
    assert texts == {"worker0.txt": "out 0\nerr\n", "worker1.txt": "out 1\nerr\n"}


def test_an_outside_rendezvous_says_where_workers_meet(launcher: Launcher, script: Callable[[str], Path]) -> None:
    worker = script("print(*(os.environ[n] for n in ('MASTER_PORT', 'WORLD_SIZE', 'TORCHELASTIC_USE_AGENT_STORE')))")

    done = launcher.run("--rdzv-backend=outside-alone", "--rdzv-conf=port=12345", worker)

    assert (done.code, done.out) == (0, "12345 1 False\n"), done.err


def test_the_keys_that_an_outside_rendezvous_declares_are_the_only_ones(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    done = launcher.run("--rdzv-backend=outside-alone", "--rdzv-conf=prot=12345", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert "outside-alone has no key 'prot'; did you mean port?" in done.err


def test_outside_recorders_that_import_nothing_of_the_launcher_are_told_every_event(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = tmp_path / "lines"

    done = launcher.run(f"--event-log-handler=outside-lines={lines},null", script("pass"))

    assert done.code == 0, done.err
    assert lines.read_text().splitlines() == [
        "AGENT RENDEZVOUS",
        "AGENT ASSIGN_WORKER_RANKS",
        "WORKER START",
        "WORKER SUCCEEDED",
        "AGENT SUCCEEDED",
    ]


def test_an_outside_start_method_starts_commands(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    worker = script("print(os.environ['STARTED_BY'], *sys.argv[1:])")
    noted = tmp_path / "calls"
    launch = ("--nproc-per-node=2", "--start-method=outside-popen", worker, "${local_rank}")

    done = launcher.run(*launch, env={"OUTSIDE_CALLS": str(noted)})

    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == ["outside-popen 0", "outside-popen 1"]
    assert calls(noted) == ["starter closed"]


def test_a_failure_of_what_an_outside_start_method_started_is_reported_and_restarted(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    worker = script("sys.exit(7 - int(os.environ['TORCHELASTIC_RESTART_COUNT']))")

    done = launcher.run("--max-restarts=1", "--exit-code=worker", "--start-method=outside-popen", worker)

    assert done.code == 6
    assert "exited with code 7" in done.err


def test_a_start_method_that_starts_no_functions_is_refused_for_them(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    done = launcher.run("--run-path", "--start-method=outside-popen", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert "outside-popen (outside-launcher-plugin 2.5) does not start Python functions" in done.err


def test_a_dry_run_shows_the_outside_plugins(launcher: Launcher, script: Callable[[str], Path], tmp_path: Path) -> None:
    noted = tmp_path / "calls"

    done = launcher.run(
        "--dry-run", "--rdzv-backend=outside-alone", "--start-method=outside-popen", "--policy=outside-door",
        script("print('started')"), env={"OUTSIDE_CALLS": str(noted)},
    )  # fmt: skip

    assert done.code == 0, done.err
    rows = [line.split()[:4] for line in done.out.splitlines() if "outside-launcher-plugin" in line]
    assert sorted(rows) == [
        ["launcher.policies", "outside-door", "outside-launcher-plugin", "2.5"],
        ["launcher.rendezvous", "outside-alone", "outside-launcher-plugin", "2.5"],
        ["launcher.start_methods", "outside-popen", "outside-launcher-plugin", "2.5"],
    ]
    assert calls(noted) == []


@pytest.mark.parametrize("name", ["outside-lines", "outside-lines="])
def test_a_recorder_is_told_whether_it_was_given_an_argument(
    name: str, launcher: Launcher, script: Callable[[str], Path]
) -> None:
    done = launcher.run(f"--event-log-handler={name}", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "launcher: error: --event-log-handler=outside-lines: name the file to write to: outside-lines=PATH\n"
    )
