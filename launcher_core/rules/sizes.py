"""How many nodes, workers, devices and CPUs: what texts and counts mean. Others do the counting."""

from __future__ import annotations

from collections.abc import Iterable

from launcher_core.errors import NodesError, UsageError

DEVICE_WORDS = ("auto", "cpu", "gpu", "xpu")


def parse_min_max_nnodes(nnodes: str) -> tuple[int, int]:
    """The least and the most nodes that `N` or `MIN:MAX` names.

    Raises NodesError for more than two parts, UsageError when a part is no number, the least is below 1 or
    above the most.
    """
    parts = nnodes.split(":")
    if len(parts) > 2:
        raise NodesError(f'--nnodes={nnodes!r} has {len(parts)} parts; write N or "MIN:MAX", e.g. 1:4')
    try:
        low, high = int(parts[0]), int(parts[-1])
    except ValueError:
        raise UsageError(f"--nnodes={nnodes!r}: write whole numbers, N or MIN:MAX, e.g. 1:4") from None
    if min(low, high) < 1:
        raise UsageError(f"--nnodes={nnodes!r}: {min(low, high)} is too few; at least one node is needed")
    if low > high:
        raise UsageError(f"--nnodes={nnodes!r}: {low} is more than {high}; write MIN:MAX, e.g. {high}:{low}")
    return low, high


def parse_nproc(text: str) -> int | str:
    """The number of workers on a node, or the word for what is to be counted (one of DEVICE_WORDS).

    Raises UsageError for numbers below 1 and for other words.
    """
    if text in DEVICE_WORDS:
        return text
    try:
        count = int(text)
    except ValueError:
        raise UsageError(f"--nproc-per-node={text!r}: write a number, or one of {', '.join(DEVICE_WORDS)}") from None
    if count < 1:
        raise UsageError(f"--nproc-per-node={text!r}: at least one worker is needed; write 1 or more")
    return count


def visible_devices(physical: int, listing: str | None) -> int:
    """How many of `physical` devices a list such as CUDA_VISIBLE_DEVICES lets a program see.

    None: no list, all of them. Items are read from the left: an index that no device has, an empty item or -1
    ends the list; names (GPU-..., MIG-...) count as they stand. A repeated item voids the whole list.
    """
    if listing is None:
        return physical
    if physical == 0:
        return 0
    seen: set[str] = set()
    for item in listing.split(","):
        name = item.strip()
        if not name or not _is_device(name, physical):
            break
        if name in seen:
            return 0
        seen.add(name)
    return len(seen)


def _is_device(name: str, physical: int) -> bool:
    if name.isascii() and name.isdigit():
        return int(name) < physical
    return name.startswith(("GPU-", "MIG-"))


def affinity_mask_devices(physical: int, mask: str | None) -> int:
    """How many of `physical` devices ZE_AFFINITY_MASK lets a program see; `0.1` is a tile of device 0.

    An empty mask hides nothing, as Level Zero has it.
    """
    if mask is None or not mask.strip():
        return physical
    indices = {item.strip().partition(".")[0] for item in mask.split(",")}
    return sum(1 for index in indices if index.isascii() and index.isdigit() and int(index) < physical)


def usable_cpus(allowed: int, quotas: Iterable[tuple[int, int]]) -> int:
    """How many CPUs a process can keep busy: those it may run on, less what the control groups cut off.

    `quotas` has (microseconds of CPU time, per microseconds of wall time) of every control group above it. A
    part of a CPU does not count, but one is always left.
    """
    whole = (quota // period for quota, period in quotas if period > 0)
    return max(1, min([allowed, *whole]))
