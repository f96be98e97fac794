"""The launcher's own event recorders keep the contract that a stranger's are held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher_core.hooks.ports import Recorder
from launcher_core.testing import EventRecorderContract
from launcher_plugins.event_recorders import console, jsonl, null, prometheus, trace


class TestNull(EventRecorderContract):
    @pytest.fixture
    def recorder(self) -> Recorder:
        return null.launcher_make_recorder(None)


class TestConsole(EventRecorderContract):
    @pytest.fixture
    def recorder(self) -> Recorder:
        return console.launcher_make_recorder(None)

    @pytest.fixture
    def recorded(self, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
        return lambda: capsys.readouterr().err.splitlines()


class TestJsonl(EventRecorderContract):
    @pytest.fixture
    def recorder(self, tmp_path: Path) -> Recorder:
        return jsonl.launcher_make_recorder(None, str(tmp_path))

    @pytest.fixture
    def recorded(self, tmp_path: Path) -> Callable[[], list[str]]:
        return lambda: (tmp_path / "events.jsonl").read_text().splitlines()


class TestTrace(EventRecorderContract):
    @pytest.fixture
    def recorder(self, tmp_path: Path) -> Recorder:
        return trace.launcher_make_recorder(None, str(tmp_path))


class TestPrometheusTextfile(EventRecorderContract):
    @pytest.fixture
    def recorder(self, tmp_path: Path) -> Recorder:
        return prometheus.launcher_make_recorder(f"textfile:{tmp_path / 'job.prom'}")
