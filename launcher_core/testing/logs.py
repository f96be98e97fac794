"""The contract of what chooses where workers' output goes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest

from launcher_core.testing.contract import Contract

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
STREAMS = ("stdouts", "stderrs")
MAPS = (*STREAMS, "tee_stdouts", "tee_stderrs", "error_files")
Envs = dict[int, dict[str, str]]


def envs(count: int, run_id: str = "job", restarts: int = 0) -> Envs:
    """The environments of the workers of one start, by local rank."""
    env = {"TORCHELASTIC_RUN_ID": run_id, "TORCHELASTIC_RESTART_COUNT": str(restarts), "KEPT": "as it was"}
    return {rank: {**env, "RANK": str(rank)} for rank in range(count)}


class LogsSpecsContract(Contract):
    """A plugin whose `launcher_make_logs_specs` returns a LogsSpecs.

    Fixture `logs_specs`: a new one, that writes somewhere below `tmp_path` if it is told where to write.
    """

    @pytest.fixture
    def logs_specs(self) -> Any:
        """A new LogsSpecs."""
        raise NotImplementedError("give a fixture logs_specs: what launcher_make_logs_specs returns")

    def test_the_root_is_a_text(self, logs_specs: Any) -> None:
        root = logs_specs.root_log_dir
        assert isinstance(root, str), f"root_log_dir has to be a text, empty when nothing is written; it is {root!r}"

    def test_it_can_be_checked_before_anything_starts(self, logs_specs: Any) -> None:
        check = getattr(logs_specs, "check", None)
        if check is None:
            pytest.skip("it has no `check`, and need not have one")
        check()

    @pytest.mark.parametrize("count", [1, 3])
    def test_every_worker_has_paths_and_nobody_else(self, logs_specs: Any, count: int) -> None:
        dest = self.reified(logs_specs, envs(count))
        for name in (*STREAMS, "error_files"):
            ranks = sorted(getattr(dest, name))
            assert ranks == list(range(count)), f"{name} has to have a path for each local rank; it has one for {ranks}"

    def test_every_path_can_be_written(self, logs_specs: Any) -> None:
        dest = self.reified(logs_specs, envs(2))
        for path in written(dest):
            assert os.path.isabs(path), f"{path!r} has to be absolute: workers and launcher may be elsewhere"
            try:
                open(path, "ab").close()
            except OSError as error:
                pytest.fail(
                    f"reify has to make the directories of what it returns; {path!r} cannot be written: {error}"
                )

    def test_every_worker_is_told_its_own_error_file(self, logs_specs: Any) -> None:
        workers = envs(2)
        dest = self.reified(logs_specs, workers)
        told = {rank: env.get(ERROR_FILE) for rank, env in workers.items()}
        assert told == dict(dest.error_files), f"reify has to add {ERROR_FILE} to each env, as in error_files"
        assert len(set(told.values())) == 2, "every worker has to have an error file of its own"

    def test_nothing_else_in_an_environment_is_changed(self, logs_specs: Any) -> None:
        workers = envs(2)
        self.reified(logs_specs, workers)
        rest = {rank: {name: env[name] for name in env if name != ERROR_FILE} for rank, env in workers.items()}
        assert rest == envs(2), f"reify must not change anything of an environment but {ERROR_FILE}"

    def test_what_is_shown_on_the_console_is_in_the_file_of_the_same_stream(self, logs_specs: Any) -> None:
        dest = self.reified(logs_specs, envs(2))
        for tee, streams in ((dest.tee_stdouts, dest.stdouts), (dest.tee_stderrs, dest.stderrs)):
            wrong = {rank: path for rank, path in tee.items() if streams.get(rank) != path}
            assert wrong == {}, f"a tee has to name the file that its stream is written to: {wrong}"

    def test_everything_is_below_the_root(self, logs_specs: Any) -> None:
        dest = self.reified(logs_specs, envs(2, run_id="../../a/b"))
        root = logs_specs.root_log_dir
        outside = [path for path in written(dest) if root and os.path.commonpath([root, path]) != os.path.abspath(root)]
        assert outside == [], f"everything has to be below root_log_dir ({root}), whatever the run id: {outside}"

    @pytest.mark.parametrize("restarts", [(0, 1), (0, 0)], ids=["a restart", "no restart counted"])
    def test_another_start_leaves_what_the_one_before_wrote(self, logs_specs: Any, restarts: tuple[int, int]) -> None:
        """Also one that costs no restart: nodes came or went."""
        first, second = restarts
        before = written(self.reified(logs_specs, envs(2, restarts=first)))
        for path in before:
            with open(path, "w") as file:
                file.write(path)
        after = written(self.reified(logs_specs, envs(2, restarts=second)))
        texts = {path: read(path) for path in before}
        assert texts == {path: path for path in before}, "reify must not touch what an earlier start has written"
        assert set(before) & set(after) == set(), "every start has to have files of its own"

    def test_two_jobs_of_one_name_keep_apart(self, logs_specs: Any) -> None:
        one, other = (self.reified(logs_specs, envs(1, run_id=run_id)) for run_id in ("job", "other"))
        assert set(written(one)) & set(written(other)) == set(), "every start has to have files of its own"

    def test_a_failed_job_keeps_what_was_written_to_the_end(self, logs_specs: Any) -> None:
        dest = self.reified(logs_specs, envs(1))
        if not logs_specs.root_log_dir:
            pytest.skip("its root_log_dir is empty: it keeps nothing")
        path = dest.error_files[0]
        with open(path, "w") as file:
            file.write("{}")
        close = getattr(logs_specs, "close", None)
        if close is not None:
            close(succeeded=False)
        assert read(path) == "{}", "close(succeeded=False) must not remove what workers have written"

    def reified(self, logs_specs: Any, workers: Envs) -> Any:
        """What reify returns, its shape checked."""
        try:
            dest = logs_specs.reify(workers)
        except Exception as error:
            pytest.fail(
                f"reify has to return the paths of {len(workers)} workers; it raised {type(error).__name__}: {error}"
            )
        lacking = [name for name in MAPS if not isinstance(getattr(dest, name, None), Mapping)]
        assert lacking == [], (
            f"reify has to return a LogsDest: {', '.join(lacking)} must be there, a path by local rank"
        )
        return dest


def written(dest: Any) -> list[str]:
    """Every file of a LogsDest; the console (empty) and the null device left out."""
    named = [path for name in MAPS for path in getattr(dest, name).values()]
    named += [getattr(dest, "filtered_stdout", ""), getattr(dest, "filtered_stderr", "")]
    return sorted({path for path in named if path and path != os.devnull})


def read(path: str) -> str | None:
    """What is in the file; None where there is none."""
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
