"""Decides where the nodes meet: the rules by which options about the rendezvous depend on each other.

torchrun's rules, but that what the user gave is kept wherever it can be, and said where it cannot. Pure:
takes the settings with their origins, returns those that a rule changes, and the notices to show.
"""

from collections.abc import Callable, Mapping
from typing import Any

from launcher_core.cli import say
from launcher_core.cli.parse import Origin
from launcher_core.errors import UsageError
from launcher_core.model.value import Value
from launcher_core.rules.endpoint import LAST_PORT, Endpoint, parse_endpoint, split_endpoint

LOOPBACK = "127.0.0.1"
STATIC_PORT = 29500
C10D_PORT = 29400

Settings = Mapping[str, Origin]


class Choice(Value):
    """What the rules changed, and what the user should know about it."""

    changed: Mapping[str, Origin] = {}
    notices: tuple[str, ...] = ()


def choose(settings: Settings, low: int, high: int, new_run_id: Callable[[], str]) -> Choice:
    """Backend, endpoint, run id and node rank of the job, where they are not as given.

    `settings` holds every option's Origin by dest, `rdzv_conf` as a dict; `low` and `high` are the numbers of
    nodes. Raises UsageError when the options contradict each other.
    """
    _check(settings)
    place = _place(settings, low, high)
    merged = {**settings, **place.changed}
    changed = {**place.changed, **_run_id(merged, high, new_run_id), **_node_rank(merged, high)}
    return Choice(changed, place.notices)


def _check(settings: Settings) -> None:
    """Refuse what no rule could make sense of."""
    if not settings["rdzv_backend"].value.strip():
        raise UsageError(say.backend_is_empty())
    port = settings["master_port"].value
    if port is not None and not 0 <= port <= LAST_PORT:
        raise _wrong(settings["master_port"], say.bad_port(port))


def _place(settings: Settings, low: int, high: int) -> Choice:
    """Backend and endpoint."""
    if settings["standalone"].value:
        return _standalone(settings, high)
    backend = settings["rdzv_backend"].value
    if backend == "static":
        return _static(settings, low, high)
    unused = _flags(settings, "master_addr", "master_port")
    notices = (say.overridden(unused, f"{backend} meets at --rdzv-endpoint"),) if unused else ()
    if backend == "c10d":
        found = _c10d(settings, high)
        return found._replace(notices=notices + found.notices)
    return Choice({}, notices)


def _standalone(settings: Settings, high: int) -> Choice:
    switch = settings["standalone"].source
    if high != 1:
        raise UsageError(say.standalone_is_one_node(settings["nnodes"].source, switch))
    lost = _flags(settings, "rdzv_endpoint", "master_addr", "master_port")
    if settings["rdzv_backend"].value != "c10d":
        lost = _flags(settings, "rdzv_backend") + lost
    here = f"{switch} meets over c10d on {LOOPBACK}, at a free port"
    notices = (say.overridden(lost, here),) if lost else ()
    return Choice(_at("c10d", Endpoint(LOOPBACK, 0), switch), notices)


def _static(settings: Settings, low: int, high: int) -> Choice:
    """Static; but c10d for one node that is told no port, which cannot collide with another job's."""
    addr, port = settings["master_addr"], settings["master_port"].value
    if settings["rdzv_endpoint"].value:
        return _static_endpoint(settings, low, high)
    if high == 1 and not port:
        return _single(settings)
    endpoint = Endpoint(_host(addr), STATIC_PORT if port is None else port)
    _known_port(endpoint, high)
    waits = (say.static_waits_for_all(low, high),) if low != high else ()
    source = "--master-addr and --master-port"
    return Choice({"rdzv_endpoint": Origin(str(endpoint), "rule", source)}, waits)


def _static_endpoint(settings: Settings, low: int, high: int) -> Choice:
    given = settings["rdzv_endpoint"]
    endpoint = parse_endpoint(given.value, said=_said(given))
    if endpoint.port == 0 and high == 1:
        return Choice(_at("c10d", endpoint, "one node at a free port"))
    _known_port(endpoint, high)
    unused = _flags(settings, "master_addr", "master_port")
    notices = (say.overridden(unused, "--rdzv-endpoint says where to meet"),) if unused else ()
    return Choice({}, (*notices, say.static_waits_for_all(low, high)) if low != high else notices)


def _single(settings: Settings) -> Choice:
    """One node without a port: c10d at a free port of the address that was given, or of the loopback."""
    addr, backend = settings["master_addr"], settings["rdzv_backend"]
    host = _host(addr) if addr.given else LOOPBACK
    notices = []
    if backend.kind == "flag":
        notices.append(say.one_node_meets_privately(backend.source))
    if addr.given:
        notices.append(say.address_kept(addr.value))
    return Choice(_at("c10d", Endpoint(host, 0), "one node, no port given"), tuple(notices))


def _c10d(settings: Settings, high: int) -> Choice:
    given = settings["rdzv_endpoint"]
    if given.value:
        host, port = split_endpoint(given.value, _said(given))
        _known_port(Endpoint(host, C10D_PORT if port is None else port), high)
        return Choice()
    if high == 1:
        rule = Origin(str(Endpoint(LOOPBACK, 0)), "rule", "one node, no endpoint given")
        return Choice({"rdzv_endpoint": rule})
    local = str(Endpoint("localhost", C10D_PORT))
    rule = Origin(local, "rule", "c10d, no endpoint given")
    return Choice({"rdzv_endpoint": rule}, (say.endpoint_is_local(local),))


def _run_id(settings: Settings, high: int, new_run_id: Callable[[], str]) -> dict[str, Origin]:
    """A random run id for a job that nobody else can join and nobody named."""
    given = settings["rdzv_id"]
    if given.given and given.value.strip():
        return {}
    if given.given and high > 1:
        raise UsageError(say.run_id_is_empty())
    moved = settings["rdzv_backend"]
    if not given.given and moved.kind != "rule":
        return {}
    return {"rdzv_id": Origin(new_run_id(), "rule", "random, for one node that nobody can join")}


def _node_rank(settings: Settings, high: int) -> dict[str, Origin]:
    """The node's rank: as given; else 0 for static, and any (None) elsewhere."""
    flag, conf = settings["node_rank"], settings["rdzv_conf"].value.get("rank")
    static = settings["rdzv_backend"].value == "static"
    if static and conf is not None:
        rank = _conf_rank(conf)
        if flag.given and flag.value != rank:
            raise UsageError(say.two_ranks(flag.value, rank))
        flag = Origin(rank, "rule", "rank in --rdzv-conf")
    elif not flag.given and not static:
        return {"node_rank": Origin(None, "default", "any rank will do")}
    if not 0 <= flag.value < high:
        raise _wrong(flag, say.rank_outside(flag.value, high))
    return {"node_rank": flag}


def _conf_rank(text: Any) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(say.not_a_number(f"--rdzv-conf: rank={text}", "whole")) from None


def _at(backend: str, endpoint: Endpoint, rule: str) -> dict[str, Origin]:
    return {
        "rdzv_backend": Origin(backend, "rule", rule),
        "rdzv_endpoint": Origin(str(endpoint), "rule", rule),
    }


def _known_port(endpoint: Endpoint, high: int) -> None:
    """Refuse a port that the other nodes could not know."""
    if endpoint.port == 0 and high > 1:
        raise UsageError(say.port_nobody_knows(str(endpoint)))


def _flags(settings: Settings, *dests: str) -> list[str]:
    """Those of the options that were given as flags. Variables are often set for all jobs of a site."""
    return [settings[dest].source for dest in dests if settings[dest].kind == "flag"]


def _wrong(entry: Origin, text: str) -> UsageError:
    """The error about a setting; it names the variable that set it."""
    return UsageError(say.set_by(text, entry.source) if entry.kind == "variable" else text)


def _said(entry: Origin) -> str:
    return entry.source if entry.kind == "variable" else "--rdzv-endpoint"


def _host(entry: Origin) -> str:
    """The host that --master-addr names. Raises UsageError when it is none, or has a port."""
    text = entry.value.strip()
    try:
        host, port = split_endpoint(text)
    except UsageError:
        raise _wrong(entry, say.no_host("--master-addr", text)) from None
    if port is not None:
        raise _wrong(entry, say.address_with_port(text))
    return host
