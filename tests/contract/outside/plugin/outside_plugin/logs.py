"""Logs specs `outside-files`: all that a worker writes goes to `<log dir>/worker<local rank>.txt`."""

from __future__ import annotations

import os
from types import SimpleNamespace

from launcher_core import hookimpl


@hookimpl
def launcher_make_logs_specs(config):
    """The launcher's settings of output are `config`; only its log_dir is used."""
    if not config.log_dir:
        raise ValueError("outside-files needs --log-dir")
    return OneFileEach(config.log_dir)


class OneFileEach:
    """A LogsSpecs by shape alone."""

    def __init__(self, root):
        self.root_log_dir = os.path.abspath(root)
        self._starts = 0

    def reify(self, envs):
        """The files of one start; a later one has a directory of its own."""
        folder = os.path.join(self.root_log_dir, f"start{self._starts}" if self._starts else "")
        self._starts += 1
        os.makedirs(folder, exist_ok=True)
        files = {rank: os.path.join(folder, f"worker{rank}.txt") for rank in envs}
        errors = {rank: os.path.join(folder, f"error{rank}.json") for rank in envs}
        for rank, env in envs.items():
            env["TORCHELASTIC_ERROR_FILE"] = errors[rank]
        return SimpleNamespace(
            stdouts=files,
            stderrs=files,
            tee_stdouts={},
            tee_stderrs={},
            error_files=errors,
            filtered_stdout="",
            filtered_stderr="",
        )
