"""The worker store `c10d`: torch's TCPStore protocol, served and spoken without torch. See README.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability

if TYPE_CHECKING:
    from launcher_plugins.c10d_store.client import StoreClient
    from launcher_plugins.c10d_store.service import StoreService


class C10dStore:
    """Makes services and clients; imports what either needs when it is first asked for."""

    def serve(self) -> StoreService:
        """A service over a new, empty key space."""
        from launcher_plugins.c10d_store.service import StoreService

        return StoreService()

    def connect(self, host: str, port: int, timeout: float) -> StoreClient:
        """A client of the store at this address; `timeout` seconds to connect, and for each of its waits."""
        from launcher_plugins.c10d_store.client import StoreClient

        return StoreClient(host, port, timeout)


@hookimpl
def launcher_declare() -> Declaration:
    """Nothing to choose: it takes no --rdzv-conf keys."""
    return Declaration(Capability.SHARES_STORE, {})


@hookimpl
def launcher_make_store() -> C10dStore:
    """The store `c10d`."""
    return C10dStore()
