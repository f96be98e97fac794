"""Where a c10d job meets, and whether this node hosts it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

from launcher_core.rules.endpoint import is_loopback, parse_endpoint
from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinated import Spot
from launcher_core.runtime.listening import is_own_name, local_address, refuse_loopback
from launcher_core.runtime.pace import pace_of, secret
from launcher_plugins.c10d import DEFAULT_PORT

if TYPE_CHECKING:
    from launcher_core.model.settings import RendezvousParameters


class Hosting(NamedTuple):
    """Whether this node hosts, as Spot has it, and why."""

    how: str
    why: str


def choose_spot(params: RendezvousParameters) -> Spot:
    """The meeting place that the parameters describe. Raises ValueError for a value that makes no sense."""
    here = "127.0.0.1:0" if params.max_nodes == 1 else "localhost"  # one node cannot collide with another job
    host, port = parse_endpoint(params.endpoint or here, default_port=DEFAULT_PORT)
    how, why = _hosting(params.get_as_bool("is_host"), host, port, params.max_nodes)
    pace = pace_of(params)
    limits = Limits(
        params.min_nodes,
        params.max_nodes,
        params.get_as_seconds("last_call_timeout", 30),
        int(params.get("max_restarts", 0)),
        fence=pace.fence,
        lease=pace.silence,
    )
    return Spot(
        host=host,
        port=port,
        hosting=how,
        why=why,
        bind=params.get("bind") or (host if is_loopback(host) else None),
        run_id=params.run_id,
        limits=limits,
        join_timeout=params.get_as_seconds("join_timeout", 600),
        close_timeout=params.get_as_seconds("close_timeout", 30),
        interval=pace.interval,
        silence=pace.silence,
        host_loss=pace.host_loss,
        master_addr=params.local_addr,
        token=secret(params),
    )


def _hosting(wish: bool | None, host: str, port: int, max_nodes: int) -> Hosting:
    if wish is not None:
        return Hosting("yes" if wish else "no", "is_host says so")
    try:
        local = local_address(host)
    except socket.gaierror as error:
        if max_nodes == 1:
            raise ValueError(f"nobody knows the host {host!r} ({error.strerror}); correct --rdzv-endpoint") from error
        if is_own_name(host):
            return Hosting("maybe", f"{host} is this machine's own name")
        return Hosting("unknown", f"{host} is not known here ({error.strerror}), perhaps not yet")
    if not local and port == 0:
        raise ValueError(
            f"{host} is not an address of this machine, and port 0 is only known to the one that binds it; name the "
            f"port, as in {host}:{DEFAULT_PORT}"
        )
    if not local:
        return Hosting("no", f"{host} is not an address of this machine")
    if max_nodes > 1 and not is_loopback(host):
        refuse_loopback(host)
    if port == 0:
        return Hosting("yes", f"{host} is this machine, and port 0 is only known here")
    return Hosting("maybe", f"{local} is bound on this machine; another agent here may have the port already")
