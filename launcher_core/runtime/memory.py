"""What the kernel tells of processes that it killed for want of memory: a count for each control group."""

from __future__ import annotations

from pathlib import Path

from launcher_core.runtime.devices import ROOT, read

_V1 = ("memory.oom_control", "memory.max_usage_in_bytes", "memory.limit_in_bytes")
_V2 = ("memory.events", "memory.peak", "memory.max")
_NONE = 1 << 60
"""From here on a limit of version 1 is none."""


def oom_kills(root: Path = ROOT) -> int | None:
    """How many processes of this one's control group the kernel has killed so; None where it does not tell.

    Those above it are not looked at: they count the processes of others, too.
    """
    found = _found(root)
    return None if found is None else found[0]


def usage(root: Path = ROOT) -> str:
    """The most memory that this one's control group has had, and its limit, in words; "" where neither is known."""
    found = _found(root)
    if found is None:
        return ""
    _, group, (_, peak, limit) = found
    most, allowed = (_bytes(read(group / name)) for name in (peak, limit))
    known = [f"peak {most}" if most else "", f"limit {allowed}" if allowed else ""]
    return f"memory of the control group: {', '.join(filter(None, known))}" if any(known) else ""


def _found(root: Path) -> tuple[int, Path, tuple[str, str, str]] | None:
    """The count of this process's control group, that group, and the names of its files."""
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, names = ("memory", _V1) if controllers else ("", _V2)
        group = root / "sys/fs/cgroup" / mount
        inner = group / path.strip("/")
        group = inner if inner.is_dir() else group  # a container sees its own as the mount
        count = _count(read(group / names[0]))
        if count is not None:
            return count, group, names
    return None


def _bytes(text: str) -> str:
    number = int(text) if text.strip().isdigit() else _NONE
    return f"{number / (1 << 20):.0f} MiB" if number < _NONE else ""


def _count(text: str) -> int | None:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "oom_kill" and words[1].isdigit():
            return int(words[1])
    return None
