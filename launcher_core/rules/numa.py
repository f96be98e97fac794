"""Which CPUs each worker is bound to (--numa-binding), and why.

The modes are torchrun's. Local rank i uses device i; where there are fewer devices they are shared in turn, and
where there is none the workers are spread over the NUMA nodes. The machine comes in as data: nothing is read,
and nothing is bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from launcher_core.errors import UsageError
from launcher_core.rules.sizes import visible_devices

T = TypeVar("T")

MODES = ("node", "socket", "exclusive", "core-complex")


class Topology(NamedTuple):
    """The CPUs of a machine and how they belong together; the last three as far as the mode needs them."""

    allowed: frozenset[int]
    """The CPUs that this process may run on."""
    nodes: Mapping[int, frozenset[int]]
    """NUMA node -> its CPUs, allowed or not; there are nodes without."""
    sockets: Mapping[int, int] = {}
    """CPU -> its physical package."""
    cores: Mapping[int, int] = {}
    """CPU -> the lowest CPU of its core; a CPU that is not in it is a core by itself."""
    caches: Mapping[int, int] = {}
    """CPU -> the lowest of the CPUs with the same last-level cache; those not in it count as one cache's."""

    def usable(self, node: int) -> frozenset[int]:
        """The allowed CPUs of a NUMA node."""
        return self.nodes.get(node, frozenset()) & self.allowed


class Device(NamedTuple):
    """An accelerator that the workers can see."""

    name: str
    node: int
    """The NUMA node it is attached to."""


class Binding(NamedTuple):
    """The CPUs of one worker."""

    cpus: frozenset[int]
    reason: str


class _Seat(NamedTuple):
    """A worker's NUMA node, what put it there, and its turn among the `total` that are there."""

    node: int
    of: str
    turn: int = 0
    total: int = 1


def mode_of(options: Any) -> str:
    """The mode that LaunchConfig.numa_options means: a name, or an object with `affinity_mode`.

    Raises UsageError when it is none of MODES.
    """
    mode = getattr(options, "affinity_mode", options)
    name = getattr(mode, "value", mode)
    if name not in MODES:
        raise UsageError(f"numa_options={name!r}: write one of {', '.join(MODES)}")
    return str(name)


def bindings(mode: str, topology: Topology, devices: Sequence[Device], workers: int) -> tuple[Binding, ...]:
    """The binding of each local rank. `devices` are all that the workers see, in the order they number them.

    Raises UsageError when a worker would get no CPU, or in mode exclusive no core of its own.
    """
    seats = _beside(devices, workers) if devices else _spread(topology, workers)
    return tuple(_bind(mode, topology, seat) for seat in _numbered(seats)[:workers])


def _beside(devices: Sequence[Device], workers: int) -> list[_Seat]:
    """A seat for every device, used or not: other launches may use the rest."""
    chosen = (devices[index % len(devices)] for index in range(max(workers, len(devices))))
    return [_Seat(device.node, f"device {device.name}") for device in chosen]


def _spread(topology: Topology, workers: int) -> list[_Seat]:
    nodes = sorted(node for node in topology.nodes if topology.usable(node)) or [min(topology.nodes, default=0)]
    why = "no device; workers are spread over the NUMA nodes"
    blocks = (share(range(workers), turn, len(nodes)) for turn in range(len(nodes)))
    return [_Seat(node, why) for node, block in zip(nodes, blocks, strict=True) for _ in block]


def _numbered(seats: Sequence[_Seat]) -> list[_Seat]:
    nodes = [seat.node for seat in seats]
    return [
        seat._replace(turn=nodes[:index].count(seat.node), total=nodes.count(seat.node))
        for index, seat in enumerate(seats)
    ]


def _bind(mode: str, topology: Topology, seat: _Seat) -> Binding:
    cpus, place = _CHOOSE[mode](topology, seat)
    if cpus:
        return Binding(cpus, f"{place} ({seat.of})")
    raise UsageError(
        f"--numa-binding={mode}: this process may run on CPUs {cpu_list(topology.allowed)}, none of them near "
        f"NUMA node {seat.node} ({seat.of}); start it with CPUs of that node, or leave the option out"
    )


def _node(topology: Topology, seat: _Seat) -> tuple[frozenset[int], str]:
    return topology.usable(seat.node), f"NUMA node {seat.node}"


def _socket(topology: Topology, seat: _Seat) -> tuple[frozenset[int], str]:
    """All NUMA nodes of one socket; each belongs to the socket of its lowest allowed CPU."""
    socket = {
        node: topology.sockets.get(min(topology.usable(node) or cpus)) for node, cpus in topology.nodes.items() if cpus
    }
    if seat.node not in socket:
        return _node(topology, seat)
    beside = (topology.usable(node) for node in socket if socket[node] == socket[seat.node])
    return frozenset().union(*beside), f"socket {socket[seat.node]}"


def _exclusive(topology: Topology, seat: _Seat) -> tuple[frozenset[int], str]:
    """Whole cores, as many for each device of the NUMA node; the first get those that are left over."""
    usable = topology.usable(seat.node)
    cores = sorted(_grouped(usable, lambda cpu: topology.cores.get(cpu, cpu)).items())
    if usable and len(cores) < seat.total:
        raise UsageError(
            f"--numa-binding=exclusive: {seat.total} workers or devices at NUMA node {seat.node} need a core each, "
            f"and this process may use {len(cores)} (CPUs {cpu_list(usable)}); choose another mode, or start fewer"
        )
    mine = share(cores, seat.turn, seat.total)
    cpus = frozenset(cpu for _, core in mine for cpu in core)
    return cpus, f"{len(mine)} of {len(cores)} cores of NUMA node {seat.node}"


def _core_complex(topology: Topology, seat: _Seat) -> tuple[frozenset[int], str]:
    """The CPUs of one last-level cache; the largest first, devices take turns."""
    usable = topology.usable(seat.node)
    groups = _grouped(usable, lambda cpu: topology.caches.get(cpu, -1))
    caches = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    turn = seat.turn % max(len(caches), 1)
    cpus = frozenset(cpu for _, cache in caches[turn : turn + 1] for cpu in cache)
    return cpus, f"last-level cache {turn} of {len(caches)} of NUMA node {seat.node}"


_CHOOSE = {"node": _node, "socket": _socket, "exclusive": _exclusive, "core-complex": _core_complex}


def _grouped(cpus: Iterable[int], key: Callable[[int], int]) -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    for cpu in sorted(cpus):
        groups.setdefault(key(cpu), []).append(cpu)
    return groups


def share(items: Sequence[T], turn: int, total: int) -> Sequence[T]:
    """The consecutive items of one of `total` that divide them evenly; the first get those left over."""
    size, left = divmod(len(items), total)
    begin = turn * size + min(turn, left)
    return items[begin : begin + size + (turn < left)]


def chosen_devices(ids: Sequence[str], listing: str | None) -> list[int]:
    """The indices of the devices that a list such as CUDA_VISIBLE_DEVICES shows, in its order.

    `ids` are the unique names (GPU-...) of all devices; the list may cut them short. Raises UsageError for a
    name that belongs to none of them.
    """
    if listing is None:
        return list(range(len(ids)))
    items = listing.split(",")[: visible_devices(len(ids), listing)]
    return [_index(item.strip(), ids) for item in items]


def _index(item: str, ids: Sequence[str]) -> int:
    if item.isdigit():
        return int(item)
    wanted = item.removeprefix("MIG-").partition("/")[0]
    found = [index for index, known in enumerate(ids) if known.startswith(wanted)]
    if len(found) != 1:
        raise UsageError(f"--numa-binding: cannot tell which device {item!r} is; list devices by their numbers")
    return found[0]


def cpus_in(text: str) -> frozenset[int]:
    """The numbers in a list as the kernel writes it, e.g. 0-3,8."""
    found: set[int] = set()
    for item in filter(None, text.strip().split(",")):
        first, _, last = item.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def cpu_list(cpus: Iterable[int]) -> str:
    """The numbers as the kernel writes them, e.g. 0-3,8."""
    ranges: list[list[int]] = []
    for cpu in sorted(cpus):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
