"""Rendezvous `c10d`: the nodes meet at a coordinator that one of them hosts, at --rdzv-endpoint.

Hosts when the endpoint is an address of this machine and its port is free. No file, no server to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime.pace import PACE_KEYS

if TYPE_CHECKING:
    from launcher_core.hooks.ports import Meeting, Store
    from launcher_core.model.settings import RendezvousParameters

DEFAULT_PORT = 29400

KEYS = {
    "join_timeout": "seconds to wait for a round to form (600)",
    "last_call_timeout": "seconds to wait for more nodes once MIN are there (30)",
    "close_timeout": "seconds the host waits at the end for the others to hear of it (30)",
    **PACE_KEYS,
    "is_host": "yes or no: whether this node hosts, instead of finding out",
    "bind": "address to listen on (all; loopback only, when the endpoint is a loopback address)",
    "store": "which store plugin serves the workers (c10d)",
    "read_timeout": "accepted for torchrun's sake: join_timeout covers it",
    "timeout": "accepted for torchrun's sake: join_timeout covers it",
    "heartbeat_timeout": "accepted for torchrun's sake: connections are never polled",
    "cas_backoff_max_seconds": "accepted for torchrun's sake: there is no compare-and-swap here",
}


@hookimpl
def launcher_declare() -> Declaration:
    """It grows and shrinks, pushes, and serves the workers' store."""
    abilities = Capability.ELASTIC | Capability.PUSHES | Capability.SHARES_STORE
    return Declaration(abilities, KEYS)


@hookimpl
def launcher_make_rendezvous(params: RendezvousParameters, store: Store | None) -> Meeting:
    """A coordinated meeting at the endpoint; the port defaults to 29400."""
    from launcher_core.runtime.coordinated import CoordinatedMeeting
    from launcher_plugins.c10d.spot import choose_spot

    return CoordinatedMeeting(choose_spot(params), store, params.get("assign"))
