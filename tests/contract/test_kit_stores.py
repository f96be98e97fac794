"""The launcher's own store keeps the contract that a stranger's is held to, on the launcher's own port."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from launcher_core.hooks.ports import Service
from launcher_core.runtime.serving import PortServer, listen
from launcher_core.testing import StoreContract
from launcher_plugins import c10d_store


class TestC10dStore(StoreContract):
    plugin = c10d_store

    @pytest.fixture
    def store(self) -> c10d_store.C10dStore:
        return c10d_store.launcher_make_store()


class TestC10dStoreOnTheJobsPort(TestC10dStore):
    @pytest.fixture
    def serve(self) -> Iterator[Callable[[Service], int]]:
        servers: list[PortServer] = []

        def serve(service: Service) -> int:
            servers.append(PortServer(listen("127.0.0.1", 0), [service]))
            servers[-1].start()
            return servers[-1].port

        yield serve
        for server in servers:
            server.stop(0.0)
