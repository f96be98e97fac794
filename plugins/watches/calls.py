"""What a system call waits for, by its number: what /proc/PID/syscall tells of a thread that waits."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress

TABLES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "x86_64": {
        "fd": (0, 1, 17, 18, 19, 20),
        "socket": (42, 43, 44, 45, 46, 47, 288, 299),
        "select": (23, 270),
        "poll": (7, 232, 271, 281, 441),
        "futex": (202, 449),
        "sleep": (35, 230),
        "child": (61, 247),
        "lock": (72, 73),
        "file": (2, 257, 437, 208, 426),
        "signal": (34, 128, 130),
        "semaphore": (65, 220),
    },
    "aarch64": {
        "fd": (63, 64, 65, 66, 67, 68),
        "socket": (202, 203, 206, 207, 211, 212, 242, 243),
        "select": (72,),
        "poll": (22, 73, 441),
        "futex": (98, 449),
        "sleep": (101, 115),
        "child": (95, 260),
        "lock": (25, 32),
        "file": (56, 437, 4, 426),
        "signal": (133, 137),
        "semaphore": (192, 193),
    },
}
"""By machine: what is waited for -> the numbers of the calls; "fd" and "select" depend on what the descriptors are."""
_TERMINALS = (4, 5, *range(136, 144))
"""Major numbers of consoles and pseudo-terminals."""


def wait_of(pid: int, line: str, machine: str = os.uname().machine) -> tuple[str, bool]:
    """What the thread waits for that /proc shows in this line (rules.apart has the words), and whether for a person."""
    number, _, rest = line.partition(" ")
    if not number.isdecimal():
        return "", False
    found = next((name for name, numbers in TABLES.get(machine, {}).items() if int(number) in numbers), "")
    first = rest.partition(" ")[0]
    if found == "select":  # one that is about descriptor 0 alone is how a line is read with editing
        return "poll", first == "0x1" and _descriptor(pid, "0x0")[1]
    return _descriptor(pid, first) if found == "fd" else (found, False)


def _descriptor(pid: int, first: str) -> tuple[str, bool]:
    """What a thread that reads or writes this descriptor waits for."""
    with suppress(OSError, ValueError):
        found = os.stat(f"/proc/{pid}/fd/{int(first, 16)}")
        if stat.S_ISSOCK(found.st_mode):
            return "socket", False
        if stat.S_ISFIFO(found.st_mode):
            return "pipe", False
        if stat.S_ISCHR(found.st_mode):
            return "file", os.major(found.st_rdev) in _TERMINALS
    return "file", False
