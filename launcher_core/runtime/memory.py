"""What the kernel tells of processes that it killed for want of memory: a count for each control group."""

from __future__ import annotations

from pathlib import Path

from launcher_core.runtime.devices import ROOT, read


def oom_kills(root: Path = ROOT) -> int | None:
    """How many processes of this one's control group the kernel has killed so; None where it does not tell.

    Those above it are not looked at: they count the processes of others, too.
    """
    for line in read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, name = ("memory", "memory.oom_control") if controllers else ("", "memory.events")
        group = root / "sys/fs/cgroup" / mount
        inner = group / path.strip("/")
        found = _count(read((inner if inner.is_dir() else group) / name))  # a container sees its own as the mount
        if found is not None:
            return found
    return None


def _count(text: str) -> int | None:
    for line in text.splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == "oom_kill" and words[1].isdigit():
            return int(words[1])
    return None
