"""Parts of the requests that a register makes, and of their answers, as the gateway has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from launcher_plugins.etcd.gateway import octets, text


class Change(NamedTuple):
    """A key was written or, when `value` is None, taken away, at this revision of the whole store."""

    key: bytes
    value: bytes | None
    revision: int
    created: int = 0
    lease: int = 0


def writing(key: bytes, entry: bytes, lease: int, over: int) -> dict[str, Any]:
    """A transaction that writes an entry if what is there has the revision `over`; 0: if nothing is."""
    return {
        "compare": [{"key": text(key), "target": "MOD", "result": "EQUAL", "mod_revision": over}],
        "success": [
            {"request_put": {"key": text(key), "value": text(entry), "lease": lease}},
            reading(key, values=False),
        ],
        "failure": [reading(key)],
    }


def reading(key: bytes, *, values: bool = True) -> dict[str, Any]:
    """The part of a transaction that reads a key."""
    return {"request_range": {"key": text(key), "keys_only": not values}}


def pairs(answer: Mapping[str, Any], index: int) -> list[Change]:
    """The keys with their values that one part of a transaction has read."""
    parts = answer.get("responses", ())
    part = parts[index].get("response_range", {}) if index < len(parts) else {}
    return [written(pair) for pair in part.get("kvs", ())]


def written(pair: Mapping[str, Any]) -> Change:
    """What a pair of the gateway means; of a key that was taken away only two fields are there."""
    return Change(
        octets(pair["key"]),
        octets(pair.get("value")),
        int(pair["mod_revision"]),
        int(pair.get("create_revision", 0)),
        int(pair.get("lease", 0)),
    )
