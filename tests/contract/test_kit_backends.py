"""The launcher's own register without a server keeps the contract that a stranger's is held to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher_core.model.settings import RendezvousParameters
from launcher_core.testing import RendezvousBackendContract
from launcher_plugins import file


class TestFile(RendezvousBackendContract):
    plugin = file

    @pytest.fixture
    def make_backend(self, tmp_path: Path) -> Callable[[str], file.FileRegister]:
        return lambda run_id: file.launcher_make_rendezvous(RendezvousParameters("file", str(tmp_path), run_id, 1, 9))
