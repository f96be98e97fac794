"""The name `etcd-v2`, which says what to use instead: it was for etcd's first API, which etcd 3.6 no longer has."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability

if TYPE_CHECKING:
    from launcher_core.hooks.ports import Store
    from launcher_core.model.settings import RendezvousParameters


@hookimpl
def launcher_declare() -> Declaration:
    """Nothing that the command line asks for is refused before the one sentence is said."""
    return Declaration(Capability.ELASTIC, None)


@hookimpl
def launcher_make_rendezvous(params: RendezvousParameters, store: Store | None) -> NoReturn:
    """Say what to use instead."""
    from launcher_core.errors import UsageError

    raise UsageError(
        f"--rdzv-backend={params.backend}: it needs etcd's v2 API, which etcd has off since 3.4 and not at all since "
        f"3.6; write --rdzv-backend=etcd, which uses the v3 API of the same server"
    )
