"""The launcher's own logs specs keep the contract that a stranger's are held to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher_core.model.logs import Std
from launcher_core.testing import LogsSpecsContract
from launcher_plugins.default_logs import DefaultLogsSpecs


class TestDefaultLogs(LogsSpecsContract):
    @pytest.fixture
    def logs_specs(self, tmp_path: Path) -> DefaultLogsSpecs:
        return DefaultLogsSpecs(str(tmp_path / "logs"), redirects=Std.OUT, tee={1: Std.ALL})


class TestDefaultLogsOfNoDirectory(LogsSpecsContract):
    @pytest.fixture
    def logs_specs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DefaultLogsSpecs:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        return DefaultLogsSpecs()


class TestDefaultLogsThatAreDiscarded(LogsSpecsContract):
    @pytest.fixture
    def logs_specs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DefaultLogsSpecs:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        return DefaultLogsSpecs(os.devnull, redirects=Std.ALL)
