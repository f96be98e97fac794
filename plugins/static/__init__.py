"""Rendezvous `static`: a fixed number of nodes, each given its rank by the user; node 0 hosts.

The port is bound by node 0's agent and serves the workers too, so workers may use env:// or tcp://.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime.pace import PACE_KEYS, pace_of, secret

if TYPE_CHECKING:
    from launcher_core.hooks.ports import Meeting, Store
    from launcher_core.model.settings import RendezvousParameters

KEYS = {
    "rank": "the node's rank; --node-rank sets it",
    "timeout": "seconds to wait for all nodes (900)",
    "bind": "address to listen on (all; loopback only, when the endpoint is a loopback address)",
    **PACE_KEYS,
    "store": "which store plugin serves the workers (c10d)",
}


@hookimpl
def launcher_declare() -> Declaration:
    """Ranks are the user's; the workers' store is served here."""
    return Declaration(Capability.RANKS_FIXED | Capability.PUSHES | Capability.SHARES_STORE, KEYS)


@hookimpl
def launcher_make_rendezvous(params: RendezvousParameters, store: Store | None) -> Meeting:
    """A coordinated meeting at the endpoint, hosted by the node whose rank is 0."""
    from launcher_core.rules.endpoint import is_loopback, parse_endpoint
    from launcher_core.rules.round import Limits
    from launcher_core.runtime.coordinated import CoordinatedMeeting, Spot

    rank = params.get_as_int("rank")
    if rank is None:
        raise ValueError("static needs to know which node this is: add --node-rank")
    if not 0 <= rank < params.max_nodes:
        raise ValueError(f"--node-rank={rank}: write 0 to {params.max_nodes - 1}, the job has {params.max_nodes} nodes")
    host, port = parse_endpoint(params.endpoint, default_port=None)
    if params.max_nodes == 1:
        _check_known(host)
    nodes, restarts, pace = params.max_nodes, int(params.get("max_restarts", 0)), pace_of(params)
    spot = Spot(
        host=host,
        port=port,
        hosting="no" if rank else "yes",
        why=f"this is node {rank}; node 0 hosts",
        bind=params.get("bind") or (host if is_loopback(host) else None),
        run_id=params.run_id,
        limits=Limits(nodes, nodes, max_restarts=restarts, fixed_ranks=True, fence=pace.fence, lease=pace.silence),
        join_timeout=params.get_as_seconds("timeout", 900),
        interval=pace.interval,
        silence=pace.silence,
        host_loss=pace.host_loss,
        token=secret(params),
    )
    return CoordinatedMeeting(spot, store)


def _check_known(host: str) -> None:
    """Raise ValueError when the host has no address here. With more nodes its name may only come up later."""
    import socket

    from launcher_core.runtime.listening import lookup

    try:
        lookup(host)
    except socket.gaierror as error:
        where = "--master-addr or --rdzv-endpoint"
        raise ValueError(f"nobody knows the host {host!r} ({error.strerror}); correct {where}") from error
