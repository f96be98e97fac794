"""The kernel's count of processes that it killed for want of memory, in either version of the control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher_core.runtime.memory import oom_kills, usage

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


@pytest.mark.parametrize(
    ("groups", "files", "text"),
    [
        ("0::/job\n", {"memory.peak": "536870912\n", "memory.max": "1073741824\n"}, "peak 512 MiB, limit 1024 MiB"),
        ("0::/job\n", {"memory.peak": "536870912\n", "memory.max": "max\n"}, "peak 512 MiB"),
        ("0::/job\n", {"memory.max": "1048576\n"}, "limit 1 MiB"),
        (MIXED, {"memory.max_usage_in_bytes": "5242880", "memory.limit_in_bytes": "9223372036854771712"}, "peak 5 MiB"),
        ("0::/job\n", {}, ""),
    ],
)
def test_peak_and_limit_are_told_where_they_are_known(
    tmp_path: Path, groups: str, files: dict[str, str], text: str
) -> None:
    group = tmp_path / "sys/fs/cgroup" / ("memory/job" if groups is MIXED else "job")
    for path, content in {
        tmp_path / "proc/self/cgroup": groups,
        group / "memory.events": EVENTS,
        group / "memory.oom_control": CONTROL,
        **{group / name: content for name, content in files.items()},
    }.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert usage(tmp_path) == (f"memory of the control group: {text}" if text else "")


def test_nothing_is_told_where_there_is_no_group(tmp_path: Path) -> None:
    assert usage(tmp_path) == ""
