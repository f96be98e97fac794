"""The register in etcd keeps the contract that a stranger's is held to, leases and all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from etcd import Cluster

from launcher_core.model.settings import RendezvousParameters
from launcher_core.testing import RendezvousBackendContract
from launcher_plugins import etcd as plugin
from launcher_plugins.etcd.register import EtcdRegister


class TestEtcd(RendezvousBackendContract):
    plugin = plugin

    @pytest.fixture
    def make_backend(self, etcd: Cluster) -> Callable[[str], EtcdRegister]:
        return lambda run_id: plugin.launcher_make_rendezvous(
            RendezvousParameters("etcd", etcd.endpoint, run_id, 1, 9, lease_ttl="2"), None
        )
