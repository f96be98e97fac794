"""The plugins of this distribution held against the launcher's contracts, as their author would: pytest contracts.py"""

from __future__ import annotations

from types import MappingProxyType

import pytest
from outside_plugin import directory, logs, recorders, starters

from launcher_core import RendezvousParameters
from launcher_core.testing import (
    EventRecorderContract,
    LogsSpecsContract,
    RendezvousHandlerContract,
    StartMethodContract,
)


class TestLines(EventRecorderContract):
    @pytest.fixture
    def recorder(self, tmp_path):
        return recorders.lines.launcher_make_recorder(str(tmp_path / "lines"))


class TestFiles(LogsSpecsContract):
    @pytest.fixture
    def logs_specs(self, tmp_path):
        return logs.OneFileEach(str(tmp_path / "logs"))


class TestPopen(StartMethodContract):
    plugin = starters.Popening
    added = MappingProxyType({"STARTED_BY": "outside-popen"})

    @pytest.fixture
    def starter(self):
        return self.plugin().launcher_make_starter()


class TestDirectory(RendezvousHandlerContract):
    plugin = directory

    @pytest.fixture
    def make_handler(self, tmp_path):
        def make(run_id, low, high, timeout):
            params = RendezvousParameters("outside-directory", str(tmp_path), run_id, low, high, timeout=timeout)
            return directory.launcher_make_rendezvous(params)

        return make
