"""Counts accelerators and CPUs, by reading what the kernel and the drivers publish.

No framework is asked: importing one costs seconds. Nothing is initialised on a device. What visibility lists
and quotas mean is decided in `rules.sizes`; here they are read. `root` is where the file system begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from launcher_core.errors import UsageError
from launcher_core.rules.sizes import affinity_mask_devices, usable_cpus, visible_devices

ROOT = Path("/")
GPU_LISTS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
GPU_PLACES = "NVIDIA's library, /proc/driver/nvidia/gpus and /sys/class/kfd"
XPU_PLACES = "the devices of i915 and xe in /sys/class/drm"
INTEGRATED = "0000:00:02.0"
"""Where the graphics of an Intel processor is on the PCI bus, never a card."""


class Found(NamedTuple):
    """Devices of one kind: those in the machine, and those that programs started from here can see."""

    present: int
    visible: int


def nvml_count() -> int | None:
    """How many devices the NVIDIA driver's library reports; None where there is no such library or driver."""
    import ctypes

    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        if library.nvmlInit_v2() != 0:
            return None
        found = ctypes.c_uint(0)
        failed = library.nvmlDeviceGetCount_v2(ctypes.byref(found))
        library.nvmlShutdown()
    except (OSError, AttributeError):
        return None
    return None if failed else found.value


def count(
    kind: str,
    environ: Mapping[str, str],
    root: Path = ROOT,
    nvml: Callable[[], int | None] = nvml_count,
) -> int:
    """How many workers `auto`, `cpu`, `gpu` or `xpu` stands for on this machine.

    auto: NVIDIA's or AMD's devices, or else Intel's cards, or else the CPUs. Raises UsageError for gpu and
    xpu when there is none.
    """
    if kind == "cpu":
        return cpus(root)
    if kind == "xpu":
        return _some(intel(environ, root), "xpu", XPU_PLACES, ("ZE_AFFINITY_MASK",), environ)
    found = _gpus(environ, root, nvml)
    if kind == "gpu":
        return _some(found, "gpu", GPU_PLACES, GPU_LISTS, environ)
    return found.visible or intel_cards(environ, root) or cpus(root)


def _some(found: Found, kind: str, places: str, lists: Sequence[str], environ: Mapping[str, str]) -> int:
    """How many are visible. Raises UsageError when none is, which says why."""
    if found.visible:
        return found.visible
    if found.present:
        shown = " ".join(f"{name}={environ[name]!r}" for name in lists if name in environ)
        raise UsageError(f"--nproc-per-node={kind}: {found.present} here, all hidden by {shown}; change or unset it")
    raise UsageError(f"--nproc-per-node={kind}: there is none (looked at {places}); write a number, or cpu")


def _gpus(environ: Mapping[str, str], root: Path, nvml: Callable[[], int | None]) -> Found:
    """NVIDIA's devices, or AMD's where NVIDIA has none: no program uses both."""
    found = nvidia(environ, root, nvml)
    return found if found.present else amd(environ, root)


def nvidia(environ: Mapping[str, str], root: Path, nvml: Callable[[], int | None]) -> Found:
    """NVIDIA's devices, as the driver's library counts them, or else its directory in /proc."""
    present = nvml()
    if present is None:
        present = len(children(root / "proc/driver/nvidia/gpus"))
    return Found(present, visible_devices(present, environ.get("CUDA_VISIBLE_DEVICES")))


def amd(environ: Mapping[str, str], root: Path) -> Found:
    """AMD's devices. ROCr's list applies first; HIP's, or CUDA's in its place, counts among what is left."""
    present = len(amd_devices(root))
    left = visible_devices(present, environ.get("ROCR_VISIBLE_DEVICES"))
    listing = environ.get("HIP_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))
    return Found(present, visible_devices(left, listing))


def amd_devices(root: Path) -> list[dict[str, str]]:
    """The properties of each node of the kernel's topology that has SIMD units (its CPUs have none), in order."""
    nodes = sorted(children(root / "sys/class/kfd/kfd/topology/nodes"), key=lambda node: (len(node.name), node.name))
    lines = ((line.partition(" ") for line in read(node / "properties").splitlines()) for node in nodes)
    found = [{name: value.strip() for name, _, value in line} for line in lines]
    return [properties for properties in found if properties.get("simd_count", "0") != "0"]


def intel(environ: Mapping[str, str], root: Path) -> Found:
    """Intel's devices that a compute driver serves, a processor's own graphics among them."""
    present = len(intel_devices(root))
    return Found(present, affinity_mask_devices(present, environ.get("ZE_AFFINITY_MASK")))


def intel_cards(environ: Mapping[str, str], root: Path) -> int:
    """Intel's visible devices where they are cards; 0 where there is only the processor's own graphics.

    On such a machine `auto` would start one worker where it should start one per CPU.
    """
    if all(device.name == INTEGRATED for device in intel_devices(root)):
        return 0
    return intel(environ, root).visible


def intel_devices(root: Path) -> list[Path]:
    """The directory of each of Intel's devices."""
    nodes = (node / "device" for node in children(root / "sys/class/drm") if node.name.startswith("renderD"))
    return [device.resolve() for device in nodes if _is_intel(device)]


def _is_intel(device: Path) -> bool:
    driver = (device / "driver").resolve().name
    return driver in ("i915", "xe") and read(device / "vendor").strip() == "0x8086"


def cpus(root: Path = ROOT) -> int:
    """How many CPUs this process may keep busy: its affinity, less what its control groups cut off."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        allowed = os.cpu_count() or 1
    return usable_cpus(allowed, _quotas(root))


def _quotas(root: Path) -> Iterator[tuple[int, int]]:
    """(quota, period) of every control group that this process is in and that has one."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            for group in _above(root / "sys/fs/cgroup", path):
                yield from _pair(read(group / "cpu.max"))
        elif "cpu" in controllers.split(","):
            for group in _above(_v1_mount(root, controllers), path):
                texts = (read(group / "cpu.cfs_quota_us"), read(group / "cpu.cfs_period_us"))
                yield from _pair(" ".join(texts))


def _v1_mount(root: Path, controllers: str) -> Path:
    """Where version 1 of the control groups has the cpu controller: under its own name or all the names."""
    mounts = root / "sys/fs/cgroup"
    return mounts / "cpu" if (mounts / "cpu").is_dir() else mounts / controllers


def _above(mount: Path, path: str) -> Iterator[Path]:
    """The group and all above it, up to the mount: each one limits. A container may not see all of them."""
    group = mount / path.strip("/")
    while group != mount and mount in group.parents:
        yield group
        group = group.parent
    yield mount


def _pair(text: str) -> Iterator[tuple[int, int]]:
    """The quota and period in the text, nothing where there is no limit (`max`, -1) or no such file."""
    words = text.split()
    if len(words) == 2 and all(word.isdigit() for word in words):
        yield int(words[0]), int(words[1])


def children(folder: Path) -> list[Path]:
    """What is in the directory, by name; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def read(path: Path) -> str:
    """The text of a file, "" where it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
