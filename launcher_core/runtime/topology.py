"""Reads where CPUs and accelerators are in this machine, from what the kernel and the drivers publish.

Only what the chosen mode asks for: a large machine has thousands of files. What follows from it is decided in
`rules.numa`. `root` is where the file system begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launcher_core.errors import UsageError
from launcher_core.rules import numa
from launcher_core.rules.numa import Binding, Device, Topology, chosen_devices, cpus_in
from launcher_core.runtime.devices import (
    ROOT,
    amd_devices,
    children,
    intel_cards,
    intel_devices,
    read,
)


def bindings(mode: str, workers: int, environ: Mapping[str, str], root: Path = ROOT) -> tuple[Binding, ...]:
    """The CPUs of each local rank on this machine. Raises UsageError when the mode cannot be had here."""
    if not hasattr(os, "sched_getaffinity"):
        raise UsageError(f"--numa-binding={mode}: this system cannot bind processes to CPUs; leave it out")
    topology = read_topology(mode, frozenset(os.sched_getaffinity(0)), root)
    return numa.bindings(mode, topology, devices(environ, root), workers)


# --- CPUs -------------------------------------------------------------------------------------------------


def read_topology(mode: str, allowed: frozenset[int], root: Path = ROOT) -> Topology:
    """The machine's CPUs as far as the mode needs to know them; one NUMA node where the kernel knows none."""
    numbered = {path.name.removeprefix("node"): path for path in children(root / "sys/devices/system/node")}
    nodes = {int(number): cpus_in(read(path / "cpulist")) for number, path in numbered.items() if number.isdigit()}
    topology = Topology(allowed, nodes or {0: allowed})
    cpus = sorted(frozenset().union(*topology.nodes.values()))
    folder = root / "sys/devices/system/cpu"
    if mode == "socket":
        packages = ((cpu, read(folder / f"cpu{cpu}/topology/physical_package_id")) for cpu in cpus)
        return topology._replace(sockets={cpu: int(text) for cpu, text in packages if text})
    if mode == "exclusive":
        return topology._replace(
            cores=_lowest(cpus, lambda cpu: read(folder / f"cpu{cpu}/topology/thread_siblings_list"))
        )
    if mode == "core-complex":
        return topology._replace(caches=_lowest(cpus, lambda cpu: _last_level(folder / f"cpu{cpu}/cache")))
    return topology


def _lowest(cpus: Iterable[int], sharers: Callable[[int], str]) -> dict[int, int]:
    """CPU -> the lowest of those that it shares something with, their own list read once for all of them."""
    lowest: dict[int, int] = {}
    for cpu in cpus:
        if cpu not in lowest:
            together = cpus_in(sharers(cpu))
            lowest.update(dict.fromkeys(together, min(together, default=cpu)))
    return lowest


def _last_level(folder: Path) -> str:
    """The list of CPUs that share the cache furthest from the CPU, not counting those for instructions."""
    caches = [
        (int(read(cache / "level") or 0), read(cache / "shared_cpu_list"))
        for cache in children(folder)
        if read(cache / "type").strip() in ("Data", "Unified")
    ]
    return max(caches, default=(0, ""))[1]


# --- accelerators -----------------------------------------------------------------------------------------


def devices(environ: Mapping[str, str], root: Path = ROOT) -> list[Device]:
    """The accelerators that the workers see, in the order that programs number them; of one kind only.

    Raises UsageError when a list such as CUDA_VISIBLE_DEVICES names one that cannot be found.
    """
    return _nvidia(environ, root) or _amd(environ, root) or _intel(environ, root)


def _nvidia(environ: Mapping[str, str], root: Path) -> list[Device]:
    present = children(root / "proc/driver/nvidia/gpus")
    names = [_unique_name(read(folder / "information")) for folder in present]
    found = [_device(root / "sys/bus/pci/devices" / folder.name) for folder in present]
    return [found[index] for index in chosen_devices(names, environ.get("CUDA_VISIBLE_DEVICES"))]


def _unique_name(information: str) -> str:
    fields = (line.partition(":") for line in information.splitlines())
    return next((value.strip() for name, _, value in fields if name == "GPU UUID"), "")


def _amd(environ: Mapping[str, str], root: Path) -> list[Device]:
    present = amd_devices(root)
    names = [f"GPU-{int(one.get('unique_id', 0)):016x}" for one in present]
    drawn = [root / f"sys/class/drm/renderD{one.get('drm_render_minor')}/device" for one in present]
    listing = environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))
    left = chosen_devices(names, environ.get("ROCR_VISIBLE_DEVICES"))
    chosen = chosen_devices([names[index] for index in left], listing)
    return [_device(drawn[left[index]]) for index in chosen]


def _intel(environ: Mapping[str, str], root: Path) -> list[Device]:
    if not intel_cards(environ, root):
        return []
    found = [_device(folder) for folder in intel_devices(root)]
    mask = environ.get("ZE_AFFINITY_MASK", "").strip()
    shown = {item.strip().partition(".")[0] for item in mask.split(",")}
    return [device for index, device in enumerate(found) if not mask or str(index) in shown]


def _device(folder: Path) -> Device:
    """The device of a PCI directory. A node below 0 means that the firmware did not say: taken for node 0."""
    return Device(folder.resolve().name, max(int(read(folder / "numa_node") or 0), 0))
