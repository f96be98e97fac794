"""The plugins of this distribution held against the launcher's contracts, as their author would: pytest contracts.py"""

from __future__ import annotations

from types import MappingProxyType

import pytest
from object_store import serving
from outside_plugin import directory, logs, objects, recorders, starters

from launcher_core import RendezvousParameters
from launcher_core.testing import (
    EventRecorderContract,
    LogsSpecsContract,
    RendezvousBackendContract,
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


class TestObject(RendezvousBackendContract):
    plugin = objects

    @pytest.fixture
    def make_backend(self):
        with serving() as store:
            yield lambda run_id: objects.launcher_make_rendezvous(
                RendezvousParameters("outside-object", store.endpoint, run_id, 1, 9)
            )
