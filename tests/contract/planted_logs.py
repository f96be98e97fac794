"""Logs specs, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import os
import shutil
from types import SimpleNamespace

import pytest

from launcher_core.testing import LogsSpecsContract


class Logs:
    """A sound one."""

    def __init__(self, root):
        self.root_log_dir = str(root)
        self.starts = 0

    def folder(self, env):
        self.starts += 1
        return os.path.join(self.root_log_dir, str(self.starts))

    def make(self, folder):
        os.makedirs(folder)

    def reify(self, envs):
        folder = self.folder(envs[0])
        self.make(folder)
        errors = {rank: self.error_file(folder, rank) for rank in envs}
        for rank, env in envs.items():
            self.tell(env, errors[rank])
        outs = {rank: os.path.join(folder, f"{rank}.out") for rank in envs}
        errs = {rank: os.path.join(folder, f"{rank}.err") for rank in envs}
        return SimpleNamespace(
            stdouts=outs, stderrs=errs, tee_stdouts=self.tee(outs), tee_stderrs={}, error_files=errors,
            filtered_stdout="", filtered_stderr="",
        )  # fmt: skip

    def error_file(self, folder, rank):
        return os.path.join(folder, f"{rank}.json")

    def tell(self, env, path):
        env["TORCHELASTIC_ERROR_FILE"] = path

    def tee(self, outs):
        return outs


class Kit(LogsSpecsContract):
    logs = Logs
    caught_by = ""

    @pytest.fixture
    def logs_specs(self, tmp_path):
        return self.logs(tmp_path / "logs")


class TestSound(Kit):
    pass


class TestMakesNothing(Kit):
    caught_by = "test_every_path_can_be_written"

    class logs(Logs):
        def make(self, folder):
            pass


class TestTellsNobody(Kit):
    caught_by = "test_every_worker_is_told_its_own_error_file"

    class logs(Logs):
        def tell(self, env, path):
            pass


class TestOneErrorFileForAll(Kit):
    caught_by = "test_every_worker_is_told_its_own_error_file"

    class logs(Logs):
        def error_file(self, folder, rank):
            return os.path.join(folder, "error.json")


class TestStartsFromScratch(Kit):
    """Each start removes what is there."""

    caught_by = "test_another_start_leaves_what_the_one_before_wrote"

    class logs(Logs):
        def folder(self, env):
            return self.root_log_dir

        def make(self, folder):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)


class TestByRestarts(Kit):
    """A start that costs no restart has the directory of the one before."""

    caught_by = "test_another_start_leaves_what_the_one_before_wrote"

    class logs(Logs):
        def folder(self, env):
            return os.path.join(self.root_log_dir, env["TORCHELASTIC_RESTART_COUNT"])

        def make(self, folder):
            os.makedirs(folder, exist_ok=True)


class TestAnywhere(Kit):
    """Uses a run id as it is."""

    caught_by = "test_everything_is_below_the_root"

    class logs(Logs):
        def folder(self, env):
            return os.path.abspath(os.path.join(super().folder(env), env["TORCHELASTIC_RUN_ID"]))


class TestClears(Kit):
    """Hands a worker an environment of its own."""

    caught_by = "test_nothing_else_in_an_environment_is_changed"

    class logs(Logs):
        def tell(self, env, path):
            env.clear()
            super().tell(env, path)


class TestTeesElsewhere(Kit):
    caught_by = "test_what_is_shown_on_the_console_is_in_the_file_of_the_same_stream"

    class logs(Logs):
        def tee(self, outs):
            return {rank: f"{path}.tee" for rank, path in outs.items()}


class TestCleansUp(Kit):
    caught_by = "test_a_failed_job_keeps_what_was_written_to_the_end"

    class logs(Logs):
        def close(self, succeeded):
            shutil.rmtree(self.root_log_dir)


class TestForgetsErrorFiles(Kit):
    caught_by = "test_every_worker_has_paths_and_nobody_else"

    class logs(Logs):
        def reify(self, envs):
            dest = super().reify(envs)
            dest.error_files = {}
            return dest
