"""Rendezvous `etcd`: the nodes meet in an etcd that is there already; no node hosts, so any of them may be lost.

Speaks etcd's v3 API over the JSON gateway of its members (3.4 or later), with the standard library alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability

if TYPE_CHECKING:
    from launcher_core.hooks.ports import LeasedBackend, Store
    from launcher_core.model.settings import RendezvousParameters

KEYS = {
    "join_timeout": "seconds to wait for a round to form (600)",
    "last_call_timeout": "seconds to wait for more nodes once MIN are there (30)",
    "connect_timeout": "seconds to wait for an etcd that has never answered (30)",
    "lease_ttl": "seconds after its last sign of life that a node is lost (6; whole, 2 or more)",
    "prefix": "what every key in etcd begins with (/launcher)",
    "protocol": "http or https, for members without it (http; https when a certificate is named)",
    "ca_cert": "file with the CA that signed etcd's certificate (the system's)",
    "ssl_cert": "file with this node's certificate, and its key unless ssl_cert_key is given (none)",
    "ssl_cert_key": "file with the key of ssl_cert",
    "user": "name that etcd knows this job by (none; or the variable PET_RDZV_USER)",
    "password_file": "file with the user's password (none; or the variable PET_RDZV_PASSWORD)",
    "store": "which store plugin serves the workers (c10d)",
    "timeout": "accepted for torchrun's sake: join_timeout covers it",
    "read_timeout": "accepted for torchrun's sake: lease_ttl covers it",
    "heartbeat_timeout": "accepted for torchrun's sake: lease_ttl covers it",
    "keep_alive_interval": "accepted for torchrun's sake: lease_ttl covers it",
    "keep_alive_max_attempt": "accepted for torchrun's sake: lease_ttl covers it",
    "cas_backoff_max_seconds": "accepted for torchrun's sake: one node writes for all",
}


@hookimpl
def launcher_declare() -> Declaration:
    """It grows and shrinks, tells of changes, keeps an entry for each node, and depends on no node."""
    register = Capability.WATCH | Capability.LEASE
    abilities = Capability.ELASTIC | Capability.PUSHES | Capability.SHARES_STORE | Capability.SURVIVES_HOST_LOSS
    return Declaration(abilities | register, KEYS)


@hookimpl
def launcher_make_rendezvous(params: RendezvousParameters, store: Store | None) -> LeasedBackend:
    """The job's register in the etcd at the endpoint, which is not asked yet."""
    from launcher_plugins.etcd.settings import register_of

    return register_of(params)
