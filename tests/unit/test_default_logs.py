"""Where worker output goes: torchrun's layout, without its losses. Real directories, nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from launcher_core.errors import UsageError
from launcher_core.model.logs import LogsDest, Std
from launcher_core.model.settings import LogsConfig
from launcher_plugins.default_logs import DefaultLogsSpecs, launcher_make_logs_specs

Envs = dict[int, dict[str, str]]


def envs(count: int, run_id: str = "job", restarts: int = 0) -> Envs:
    env = {"TORCHELASTIC_RUN_ID": run_id, "TORCHELASTIC_RESTART_COUNT": str(restarts)}
    return {rank: dict(env) for rank in range(count)}


def attempt_dir(dest: LogsDest) -> str:
    return os.path.dirname(os.path.dirname(dest.error_files[0]))


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory for temporary files; the current directory is another one."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.chdir(tmp_path / "here")
    return directory


def test_the_layout_is_torchruns(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path / "logs"), redirects=Std.OUT, tee={1: Std.ERR})
    workers = envs(2, restarts=3)

    dest = specs.reify(workers)

    attempt = attempt_dir(dest)
    assert re.fullmatch(re.escape(f"{tmp_path}/logs/job_") + r"[a-z0-9_]{8}/attempt_3", attempt), attempt
    assert dest == LogsDest(
        stdouts={0: f"{attempt}/0/stdout.log", 1: f"{attempt}/1/stdout.log"},
        stderrs={0: "", 1: f"{attempt}/1/stderr.log"},
        tee_stdouts={},
        tee_stderrs={1: f"{attempt}/1/stderr.log"},
        error_files={0: f"{attempt}/0/error.json", 1: f"{attempt}/1/error.json"},
        filtered_stdout=f"{attempt}/filtered_stdout.log",
        filtered_stderr=f"{attempt}/filtered_stderr.log",
    )
    assert [env["TORCHELASTIC_ERROR_FILE"] for env in workers.values()] == [*dest.error_files.values()]
    assert tree(Path(attempt)) == ["0", "1"]


@pytest.mark.parametrize(
    ("redirects", "tee", "stdout", "stderr", "tee_stdout", "tee_stderr"),
    [
        (Std.NONE, Std.NONE, False, False, False, False),
        (Std.ERR, Std.NONE, False, True, False, False),
        (Std.ALL, Std.NONE, True, True, False, False),
        (Std.NONE, Std.OUT, True, False, True, False),
        (Std.ERR, Std.OUT, True, True, True, False),
        (Std.NONE, Std.ALL, True, True, True, True),
    ],
)
def test_a_stream_has_a_file_when_it_is_redirected_or_teed(
    tmp_path: Path, redirects: Std, tee: Std, stdout: bool, stderr: bool, tee_stdout: bool, tee_stderr: bool
) -> None:
    dest = DefaultLogsSpecs(str(tmp_path), redirects, tee).reify(envs(1))

    assert (dest.stdouts[0] != "", dest.stderrs[0] != "") == (stdout, stderr)
    assert (0 in dest.tee_stdouts, 0 in dest.tee_stderrs) == (tee_stdout, tee_stderr)


def test_ranks_outside_the_filter_show_nothing_and_keep_their_files(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), redirects={2: Std.ERR}, tee=Std.OUT, local_ranks_filter={0})

    dest = specs.reify(envs(3))

    names = {rank: os.path.basename(path) for rank, path in dest.stdouts.items()}
    assert names == {0: "stdout.log", 1: "stdout.log", 2: "stdout.log"}
    assert dest.tee_stdouts == {0: dest.stdouts[0]}
    assert dest.stderrs == {0: "", 1: os.devnull, 2: f"{attempt_dir(dest)}/2/stderr.log"}


def test_an_empty_filter_filters_nothing(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path), local_ranks_filter=frozenset())

    assert specs.reify(envs(1)).stdouts == {0: ""}


def test_nothing_is_created_before_workers_start(tmp_path: Path, temporary: Path) -> None:
    DefaultLogsSpecs()
    DefaultLogsSpecs(str(tmp_path / "logs")).check()

    assert (tree(temporary), (tmp_path / "logs").exists()) == ([], False)


def test_restarts_share_the_run_directory_and_no_attempt_is_used_twice(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path))
    attempts = []
    for restarts in (0, 0, 1, 0):
        dest = specs.reify(envs(1, restarts=restarts))
        attempts.append(attempt_dir(dest))
        Path(dest.error_files[0]).write_text("what this start wrote")

    run_dir = os.path.dirname(attempts[0])
    names = ("attempt_0", "attempt_0.1", "attempt_1", "attempt_0.2")
    assert attempts == [f"{run_dir}/{name}" for name in names]
    assert all(Path(attempt, "0/error.json").exists() for attempt in attempts)


def test_two_launches_of_one_run_id_do_not_share_a_directory(tmp_path: Path) -> None:
    dirs = {attempt_dir(DefaultLogsSpecs(str(tmp_path)).reify(envs(1))) for _ in range(3)}

    assert len(dirs) == 3


def test_only_the_user_may_enter_the_run_directory(tmp_path: Path) -> None:
    run_dir = os.path.dirname(attempt_dir(DefaultLogsSpecs(str(tmp_path)).reify(envs(1))))

    assert os.stat(run_dir).st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("run_id", "name"), [("a/b", "a_b_"), ("../up", ".._up_"), ("", "_"), ("x" * 300, "x" * 200 + "_")]
)
def test_any_run_id_makes_a_directory_name(tmp_path: Path, run_id: str, name: str) -> None:
    run_dir = os.path.dirname(attempt_dir(DefaultLogsSpecs(str(tmp_path)).reify(envs(1, run_id))))

    assert (os.path.dirname(run_dir), os.path.basename(run_dir)[:-8]) == (str(tmp_path), name)


def test_an_environment_without_run_id_and_restarts_has_torchs_defaults(tmp_path: Path) -> None:
    attempt = attempt_dir(DefaultLogsSpecs(str(tmp_path)).reify({0: {}}))

    assert re.search(r"/test_run_id_[a-z0-9]{8}/attempt_0$", attempt), attempt


def test_a_relative_log_dir_is_made_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = DefaultLogsSpecs("logs")
    monkeypatch.chdir("/")

    assert specs.root_log_dir == f"{tmp_path}/here/logs"
    assert specs.reify(envs(1)).error_files[0].startswith(f"{tmp_path}/here/logs/")


@pytest.mark.parametrize("log_dir", [None, ""])
def test_without_a_log_dir_the_root_is_a_new_temporary_directory(log_dir: str | None, temporary: Path) -> None:
    specs = DefaultLogsSpecs(log_dir)
    before = specs.root_log_dir

    dest = specs.reify(envs(1))

    assert before == ""
    assert os.path.dirname(specs.root_log_dir) == str(temporary)
    assert os.path.basename(specs.root_log_dir).startswith("torchelastic_")
    assert dest.error_files[0].startswith(f"{specs.root_log_dir}/job_")


@pytest.mark.parametrize(
    ("redirects", "tee", "succeeded", "stays"),
    [
        (Std.NONE, Std.NONE, True, False),
        ({0: Std.NONE}, {}, True, False),
        (Std.NONE, Std.NONE, False, True),
        (Std.OUT, Std.NONE, True, True),
        (Std.NONE, {0: Std.ERR}, True, True),
    ],
)
def test_a_temporary_root_is_removed_when_the_job_succeeded_and_nothing_went_to_a_file(
    temporary: Path, redirects: Std | dict[int, Std], tee: Std | dict[int, Std], succeeded: bool, stays: bool
) -> None:
    specs = DefaultLogsSpecs(redirects=redirects, tee=tee)
    dest = specs.reify(envs(1))
    Path(dest.error_files[0]).write_text("{}")
    os.symlink("/", os.path.join(attempt_dir(dest), "link"))

    specs.close(succeeded)

    assert bool(tree(temporary)) == stays


def test_a_log_dir_that_was_given_stays(tmp_path: Path) -> None:
    specs = DefaultLogsSpecs(str(tmp_path / "logs"))
    dest = specs.reify(envs(1))

    specs.close(True)

    assert os.path.isdir(attempt_dir(dest))


def test_the_null_device_leaves_streams_on_the_console_and_records_exceptions_all_the_same(
    temporary: Path,
) -> None:
    specs = DefaultLogsSpecs(os.devnull, redirects=Std.ALL, tee=Std.ALL, local_ranks_filter={0})
    specs.check()

    dest = specs.reify(envs(2))
    root = f"{temporary}/{os.listdir(temporary)[0]}"

    assert dest._replace(error_files={}) == LogsDest(stdouts={0: "", 1: os.devnull}, stderrs={0: "", 1: os.devnull})
    assert [path.startswith(f"{root}/job_") for path in dest.error_files.values()] == [True, True]
    assert specs.root_log_dir == ""
    specs.close(False)
    assert tree(temporary) == []


def test_a_log_dir_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file")

    with pytest.raises(UsageError) as caught:
        launcher_make_logs_specs(LogsConfig(path))
    with pytest.raises(UsageError) as below:
        DefaultLogsSpecs(f"{path}/logs").check()

    advice = "name a directory that this user can create or write in"
    assert str(caught.value) == f"--log-dir={path!r}: it is not a directory; {advice}"
    assert str(below.value) == f"--log-dir='{path}/logs': {path!r} is not a directory; {advice}"


@pytest.mark.parametrize(("name", "reason"), [("x" * 300, "File name too long"), ("nul\0", "embedded null byte")])
def test_an_absurd_log_dir_is_a_usage_error(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        DefaultLogsSpecs(str(tmp_path / name)).check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_log_dir_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(UsageError, match="cannot be written"):
        DefaultLogsSpecs(str(tmp_path)).check()
    with pytest.raises(UsageError, match="cannot be written"):
        DefaultLogsSpecs(str(tmp_path / "logs")).check()
    tmp_path.chmod(0o700)


def test_a_directory_that_cannot_be_created_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    specs = DefaultLogsSpecs(str(tmp_path / "file"))

    with pytest.raises(OSError) as caught:
        specs.reify(envs(1))

    assert f"{str(tmp_path / 'file')!r} cannot be created" in str(caught.value)


def test_a_temporary_directory_that_is_missing_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setenv("TEMP", str(tmp_path / "here"))
    specs = DefaultLogsSpecs()

    specs.reify(envs(1))

    assert os.path.dirname(specs.root_log_dir) == str(tmp_path / "here")


def test_equal_arguments_make_equal_logs_specs() -> None:
    one = DefaultLogsSpecs("/logs", Std.OUT, {1: Std.ERR}, {0, 1})

    assert one == launcher_make_logs_specs(LogsConfig("/logs", Std.OUT, {1: Std.ERR}, frozenset({0, 1})))
    assert one != DefaultLogsSpecs("/logs", Std.OUT, {1: Std.ERR}, {0})
    assert one != DefaultLogsSpecs("/elsewhere", Std.OUT, {1: Std.ERR}, {0, 1})
    assert one != "logs"
    assert repr(one) == (
        f"DefaultLogsSpecs(root_log_dir='/logs', redirects={Std.OUT!r}, tee={{1: {Std.ERR!r}}}, "
        "local_ranks_filter={0, 1})"
    )
