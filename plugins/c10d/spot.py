"""Where a c10d job meets, and whether this node hosts it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from launcher_core.rules.endpoint import is_loopback, parse_endpoint
from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinated import Spot
from launcher_core.runtime.listening import lookup
from launcher_plugins.c10d import DEFAULT_PORT

if TYPE_CHECKING:
    from launcher_core.model.settings import RendezvousParameters


def choose_spot(params: RendezvousParameters) -> Spot:
    """The meeting place that the parameters describe. Raises ValueError for a value that makes no sense."""
    host, port = parse_endpoint(params.endpoint or "localhost", default_port=DEFAULT_PORT)
    hosting, why = _hosting(params.get_as_bool("is_host"), host, port, params.max_nodes)
    interval = params.get_as_seconds("keep_alive_interval", 5)
    limits = Limits(
        params.min_nodes,
        params.max_nodes,
        params.get_as_seconds("last_call_timeout", 30),
        int(params.get("max_restarts", 0)),
    )
    return Spot(
        host=host,
        port=port,
        hosting=hosting,
        why=why,
        bind=params.get("bind") or (host if is_loopback(host) else None),
        run_id=params.run_id,
        limits=limits,
        join_timeout=params.get_as_seconds("join_timeout", 600),
        close_timeout=params.get_as_seconds("close_timeout", 30),
        silence=interval * params.get_as_seconds("keep_alive_max_attempt", 3),
        master_addr=params.local_addr,
    )


def _hosting(wish: bool | None, host: str, port: int, max_nodes: int) -> tuple[str, str]:
    if wish is not None:
        return ("yes" if wish else "no"), "is_host says so"
    try:
        local = _local_address(host)
    except socket.gaierror as error:
        if max_nodes == 1:
            raise ValueError(f"nobody knows the host {host!r} ({error.strerror}); correct --rdzv-endpoint") from error
        return "no", f"{host} is not known here ({error.strerror}), perhaps not yet"
    if not local and port == 0:
        raise ValueError(
            f"{host} is not an address of this machine, and port 0 is only known to the one that binds it; name the "
            f"port, as in {host}:{DEFAULT_PORT}"
        )
    if not local:
        return "no", f"{host} is not an address of this machine"
    if port == 0:
        return "yes", f"{host} is this machine, and port 0 is only known here"
    return "maybe", f"{local} is bound on this machine; another agent here may have the port already"


def _local_address(host: str) -> str:
    """The first address of `host` that this machine can bind; "" when there is none. Raises gaierror."""
    for family, kind, protocol, _, address in lookup(host):
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((address[0], 0, *address[2:]))
            except OSError:
                continue
            return str(address[0])
    return ""
