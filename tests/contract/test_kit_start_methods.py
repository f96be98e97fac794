"""The launcher's own start methods keep the contract that a stranger's are held to."""

from __future__ import annotations

import pytest

from launcher_core.hooks.ports import Starter
from launcher_core.testing import StartMethodContract
from launcher_plugins.start_methods import exec, fork, forkserver, spawn


class TestExec(StartMethodContract):
    plugin = exec

    @pytest.fixture
    def starter(self) -> Starter:
        return self.plugin.launcher_make_starter()


class TestSpawn(TestExec):
    plugin = spawn


class TestFork(TestExec):
    plugin = fork


class TestForkserver(TestExec):
    plugin = forkserver
