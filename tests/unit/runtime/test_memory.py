"""The kernel's count of processes that it killed for want of memory, in either version of the control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher_core.runtime.memory import oom_kills

EVENTS = "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"
MIXED = "9:name=systemd:/\n4:memory:/job\n1:cpu:/\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/job\n", {"job/memory.events": EVENTS}, 3),
        ("0::/kubepods/abc\n", {"memory.events": EVENTS}, 3),
        ("0::/a/job\n", {"a/job/cgroup.procs": "", "a/memory.events": EVENTS}, None),
        (MIXED, {"memory/job/memory.oom_control": CONTROL}, 2),
        (MIXED, {"memory/memory.oom_control": CONTROL}, 2),
        (MIXED, {"memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\n"}, None),
        ("0::/job\n", {"job/memory.events": "oom_kill many\n"}, None),
        ("0::/job\n", {}, None),
        ("", {"memory.events": EVENTS}, None),
    ],
)
def test_only_the_groups_own_count_is_taken(
    tmp_path: Path, groups: str, files: dict[str, str], count: int | None
) -> None:
    for name, text in {
        "proc/self/cgroup": groups,
        **{f"sys/fs/cgroup/{one}": text for one, text in files.items()},
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert oom_kills(tmp_path) == count
