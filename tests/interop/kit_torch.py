"""torch's own c10d rendezvous held against the kit's contract: run by test_kit_torch.py in a pytest of its own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from torch.distributed import TCPStore
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.c10d_rendezvous_backend import C10dRendezvousBackend
from torch.distributed.elastic.rendezvous.dynamic_rendezvous import create_handler

from launcher_core.testing import RendezvousBackendContract, RendezvousHandlerContract

PATIENCE = 12
"""Seconds that torch waits for a key of its store, 60 if nobody says otherwise; its name lookups can take 5."""


@pytest.fixture(scope="module")
def server():
    """The store that the register lies in."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=timedelta(seconds=PATIENCE))


def register(server, run_id):
    client = TCPStore(
        "127.0.0.1", server.port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=PATIENCE)
    )
    return client, C10dRendezvousBackend(client, run_id)


class TestTorchsHandler(RendezvousHandlerContract):
    """DynamicRendezvousHandler, as torchrun makes it."""

    capabilities = ("ELASTIC",)
    seconds = 30.0

    @pytest.fixture
    def make_handler(self, server):
        def make(run_id, low, high, timeout):
            client, backend = register(server, run_id)
            conf = {"join_timeout": timeout, "last_call_timeout": 1, "read_timeout": PATIENCE}
            where = f"127.0.0.1:{server.port}"
            return create_handler(
                client, backend, RendezvousParameters("c10d", where, run_id, low, high, "127.0.0.1", **conf)
            )

        return make


class TestTorchsRegister(RendezvousBackendContract):
    """C10dRendezvousBackend."""

    @pytest.fixture
    def make_backend(self, server):
        return lambda run_id: register(server, run_id)[1]
