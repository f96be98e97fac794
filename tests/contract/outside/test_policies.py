"""Policies of another distribution: each hook is asked when its specification says so, and what it says counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, until


@pytest.fixture
def noted(launcher: Launcher, tmp_path: Path) -> Callable[[], list[str]]:
    """The calls that the policies wrote down."""
    path = tmp_path / "calls"
    launcher.env["OUTSIDE_CALLS"] = str(path)
    return lambda: path.read_text().splitlines() if path.exists() else []


def test_admit_is_asked_before_every_round(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    worker = script("sys.exit(1 - int(os.environ['TORCHELASTIC_RESTART_COUNT']))")

    done = launcher.run("--max-restarts=1", "--policy=outside-door", worker)

    assert done.code == 0, done.err
    assert noted() == ["admit 1 workers to round 0", "admit 1 workers to round 1"]


def test_a_node_that_is_not_admitted_starts_nothing_and_says_why(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "door").touch()
    launcher.env["OUTSIDE_DOOR"] = str(tmp_path / "door")

    done = launcher.run("--policy=outside-variables,outside-door", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert done.err == "launcher: error: this node must not join round 0: its door is closed\n"


def test_a_node_may_be_kept_out_of_a_later_round(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    door = tmp_path / "door"
    worker = script(f"open({str(door)!r}, 'w'); sys.exit(1)")

    done = launcher.run("--max-restarts=1", "--policy=outside-door", worker, env={"OUTSIDE_DOOR": str(door)})

    assert done.code == 2
    assert done.err.splitlines()[-1] == "launcher: error: this node must not join round 1: its door is closed"


def test_assign_ranks_orders_the_nodes(launcher: Launcher, script: Callable[[str], Path], free_port: int) -> None:
    worker = script("print(os.environ['RANK'], os.environ['GROUP_RANK'], flush=True)")
    words = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--nnodes=2", "--rdzv-id=ranks")

    small = launcher.start(*words, "--policy=outside-largest-first", worker)
    large = launcher.start(*words, "--policy=outside-largest-first", "--nproc-per-node=2", worker)
    done = [small.wait(), large.wait()]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert [sorted(one.out.splitlines()) for one in done] == [["2 1"], ["0 0", "1 0"]]


def test_a_policy_that_has_no_opinion_about_ranks_leaves_them_to_the_next(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]], free_port: int
) -> None:
    worker = script("print(os.environ['RANK'], flush=True)")
    policies = "--policy=outside-no-ranks,outside-largest-first"
    words = ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--nnodes=2", "--rdzv-id=ranks", policies)

    small = launcher.start(*words, worker)
    large = launcher.start(*words, "--nproc-per-node=2", worker)
    done = [small.wait(), large.wait()]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert [sorted(one.out.split()) for one in done] == [["2"], ["0", "1"]]
    assert noted() == ["ranks for 2 0 []"]


@pytest.mark.parametrize(
    ("policy", "fault"),
    [
        ("outside-wrong-ranks", "assigned the ranks [1, 2], which are not 0 to 0, each once"),
        ("outside-raising-ranks", "failed to assign ranks: KeyError: 'rank'"),
    ],
)
def test_ranks_that_make_no_sense_fall_back_to_the_default_with_a_notice(
    policy: str, fault: str, launcher: Launcher, script: Callable[[str], Path]
) -> None:
    done = launcher.run(f"--policy={policy}", script("print(os.environ['RANK'])"))

    assert (done.code, done.out) == (0, "0\n")
    assert done.err == (
        f"launcher: --policy={policy}: the plugin of outside-launcher-plugin 2.5 {fault}; its answer is not used\n"
    )


@pytest.mark.parametrize(
    ("words", "rendezvous"),
    [
        ("--rdzv-backend=outside-alone", "outside-alone (outside-launcher-plugin 2.5)"),
        ("--rdzv-backend=static --master-port={port}", "static (launcher-core "),
    ],
)
def test_ranks_that_no_policy_can_assign_are_said_to_be_so(
    words: str, rendezvous: str, launcher: Launcher, script: Callable[[str], Path], free_port: int
) -> None:
    flags = words.format(port=free_port).split()

    done = launcher.run(*flags, "--policy=outside-largest-first", script("print('done')"))

    assert (done.code, done.out) == (0, "done\n"), done.err
    assert done.err.startswith(
        f"launcher: outside-largest-first (outside-launcher-plugin 2.5) assigns no ranks: {rendezvous}"
    )


def test_judge_may_stop_a_job_that_has_restarts_left(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    worker = script("sys.exit(76 + int(os.environ['TORCHELASTIC_RESTART_COUNT']))")

    done = launcher.run("--max-restarts=5", "--policy=outside-no-second-chance", worker)

    assert done.code == 1
    assert "exited with code 77" in done.err
    assert "a policy decided not to restart" in done.err
    assert noted() == ["judge 0 76 0 5", "judge 0 77 1 5"]


def test_worker_env_adds_variables_and_wins_over_the_launchers_own(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    worker = script("print(os.environ['OUTSIDE'], os.environ['ROLE_NAME'], flush=True)")

    done = launcher.run("--nproc-per-node=2", "--policy=outside-variables", worker)

    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == ["0 of 2 outside", "1 of 2 outside"]


def test_variables_that_are_no_texts_are_refused(launcher: Launcher, script: Callable[[str], Path]) -> None:
    done = launcher.run("--policy=outside-numbers", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "launcher: error: --policy=outside-numbers: the plugin of outside-launcher-plugin 2.5 returned {'OUTSIDE': 1} "
        "from launcher_worker_env, which has to be names with values, all of them texts\n"
    )


def test_a_watch_is_started_with_the_workers_and_stopped_with_them(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    worker = script("sys.exit(1 - int(os.environ['TORCHELASTIC_RESTART_COUNT']))")

    done = launcher.run("--max-restarts=1", "--rdzv-id=watched", "--policy=outside-watch", worker)

    assert done.code == 0, done.err
    assert noted() == ["watch for watched"] + ["watch started [0]", "watch stopped"] * 2


@pytest.mark.parametrize(
    "body",
    [
        "import time; time.sleep(60)",
        "import signal, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)",
    ],
    ids=["killed by the stop", "exits with 0 when stopped"],
)
def test_an_alarm_of_a_watch_fails_the_group_and_is_the_reason_in_the_report(
    body: str, launcher: Launcher, script: Callable[[str], Path]
) -> None:
    launcher.env["OUTSIDE_ALARM"] = "no heartbeat for 5 s"

    done = launcher.run("--policy=outside-watch", script(body))

    assert done.code == 1
    assert "Traceback" not in done.err
    assert "no heartbeat for 5 s" in done.err


def test_an_alarm_costs_a_restart(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    launcher.env["OUTSIDE_ALARM"] = "no heartbeat for 5 s"

    done = launcher.run("--max-restarts=2", "--policy=outside-watch", script("import time; time.sleep(60)"))

    assert done.code == 1
    assert noted().count("watch started [0]") == 3


def test_a_watch_that_cannot_start_ends_the_launch_with_its_reason(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    launcher.env["OUTSIDE_RAISES"] = "start ValueError"

    done = launcher.run("--policy=outside-blind", script("import time; time.sleep(60)"))

    assert (done.code, done.out) == (2, "")
    assert done.err == "launcher: error: --policy=outside-blind: no sensor\n"
    until(lambda: not launcher.leftovers(), "the end of the workers", 5.0)


def test_a_defect_of_a_watch_is_said_to_be_that_plugins(launcher: Launcher, script: Callable[[str], Path]) -> None:
    launcher.env["OUTSIDE_RAISES"] = "start KeyError"

    done = launcher.run("--policy=outside-blind", script("import time; time.sleep(60)"))

    assert done.code == 1
    assert done.err.rstrip().endswith(
        "KeyError: 'no sensor'\nraised by Watch.start of plugin outside-blind (outside-launcher-plugin 2.5)"
    )
    until(lambda: not launcher.leftovers(), "the end of the workers", 5.0)


@pytest.mark.parametrize(
    "error, told",
    [
        ("ValueError", "UsageError: --policy=outside-blind: no sensor"),
        (
            "KeyError",
            "KeyError: 'no sensor'; raised by Watch.stop of plugin outside-blind (outside-launcher-plugin 2.5)",
        ),
    ],
)
def test_a_watch_that_cannot_stop_is_told_of_and_changes_no_result(
    error: str, told: str, launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    launcher.env["OUTSIDE_RAISES"] = f"stop {error}"

    done = launcher.run("--policy=outside-blind", script("print('worked')"))

    assert (done.code, done.out) == (0, "worked\n")
    assert f"something could not be closed: {told}\n" in done.err
    assert noted() == ["start", "stop"]


def test_a_policy_that_fails_during_the_job_ends_it_with_its_traceback_and_leaves_nothing(
    launcher: Launcher, script: Callable[[str], Path]
) -> None:
    done = launcher.run("--policy=outside-confused", script("print('started', flush=True); sys.exit(1)"))

    assert (done.code, done.out) == (1, "started\n")
    assert done.err.rstrip().endswith(
        "ZeroDivisionError: division by zero\nraised by launcher_judge of plugin outside-confused "
        "(outside-launcher-plugin 2.5)"
    )
    until(lambda: not launcher.leftovers(), "the end of the workers", 5.0)
