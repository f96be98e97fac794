"""How a running launch is shown."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.cli import seen
from launcher_core.rules.stacks import Call, Stack, to_json


def worker(rank: int, **changed: Any) -> dict[str, Any]:
    return {
        "local_rank": rank, "rank": rank, "pid": 4000 + rank, "exit_code": None, "stdout": "", "stderr": "",
        "error_file": "", "rss_bytes": 300 << 20, "cpu_seconds": 12.34, "process_state": "running",
        "last_output_seconds": 3.21, **changed,
    }  # fmt: skip


def facts(*workers: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "schema": 1, "pid": 7, "host": "host1", "run_id": "job", "role": "default", "command": "train.py",
        "state": "running", "round": 1, "nodes": {"count": 2, "rank": 0, "min": 1, "max": 4}, "world_size": 4,
        "restarts": {"spent": 1, "max": 3, "causes": []}, "waiting": None, "health": "", "workers": list(workers),
        **changed,
    }  # fmt: skip


def test_a_running_launch_is_a_table() -> None:
    ended = worker(1, exit_code=-9, rss_bytes=None, cpu_seconds=None, process_state="ended", last_output_seconds=None)
    assert seen.status(facts(worker(0, stdout="/logs/0/stdout.log", stderr="/logs/0/stderr.log"), ended)) == [
        "launcher 7 on host1: job job, train.py",
        "  running, round 1, node 0 of 2 (1 to 4), 4 workers in all, 1 of 3 restarts",
        "  rank   pid   memory     CPU  state     last output",
        "     0  4000  300 MiB  12.3 s  running   3.2 s ago",
        "     1  4001        -       -  signal 9  -",
        "  output: /logs/0",
    ]


def test_a_launch_that_waits_says_for_whom() -> None:
    nobody = {"count": None, "rank": None, "min": 4, "max": 4}
    waiting = {"have": 1, "min": 4, "max": 4, "detail": "3 are missing"}
    assert seen.status(facts(state="rendezvous", round=-1, nodes=nobody, waiting=waiting)) == [
        "launcher 7 on host1: job job, train.py",
        "  rendezvous, 1 of 3 restarts",
        "  waiting: 1 of 4 nodes are here; 3 are missing",
    ]


def test_the_latest_causes_are_shown_with_how_often() -> None:
    causes = [{"kind": "failure", "reason": f"reason {n}", "count": n} for n in range(1, 8)]
    shown = seen.status(facts(restarts={"spent": 3, "max": 3, "causes": causes}))[2:]
    assert shown == [
        *(f"  failure ({n} times): reason {n}" for n in range(3, 8)),
        "  and 2 earlier reasons (--status=json)",
    ]


def test_nothing_is_wider_than_a_terminal_where_paths_allow() -> None:
    causes = [{"kind": "failure", "reason": "rank 1 exited with code 1: " + "word " * 60, "count": 1}]
    long = facts(
        *(worker(n, rss_bytes=9 << 40, cpu_seconds=9e6, pid=4194304, last_output_seconds=1e6) for n in (0, 123456)),
        run_id="a-rather-long-id-of-a-job-0123456789", restarts={"spent": 1, "max": 3, "causes": causes},
    )  # fmt: skip
    assert max(len(line) for line in seen.status(long)) <= 80


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0.0 s"), (59.94, "59.9 s"), (60, "0:01:00"), (3725.9, "1:02:05"), (90000, "25:00:00")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert seen._time(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(512 << 10, "512 KiB"), (9 << 20, "9216 KiB"), (300 << 20, "300 MiB"), (40 << 30, "40 GiB"), (None, "-")],
)
def test_sizes_are_short(count: int | None, text: str) -> None:
    assert seen._size(count) == text


def test_stacks_are_folded_and_the_ended_are_named() -> None:
    stack = to_json(Stack((Call("f", "/a.py", 1),), source="faulthandler"))
    workers = [worker(0, stack=stack), worker(1, stack=stack), worker(2, exit_code=0, stack=None)]
    assert seen.stacks(facts(*workers))[2:] == ["ranks 0-1: in f, a.py:1", "    f (/a.py:1)", "rank 2: ended"]


def test_without_workers_there_are_no_stacks() -> None:
    assert seen.stacks(facts())[2:] == ["  no worker runs"]
