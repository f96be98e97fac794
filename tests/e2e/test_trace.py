"""The timeline of real jobs: as the format has it, spans that nest, times that add up."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from launches import Launcher, until

BIN = Path(__file__).parent / "bin"
FIELDS = {"name": str, "ph": str, "pid": int, "tid": int, "args": dict}
TIMED = {**FIELDS, "cat": str, "ts": int}
SHAPES = {"M": FIELDS, "B": TIMED, "E": TIMED, "i": {**TIMED, "s": str}}
"""Of each phase that is used: the fields that the format demands, and no other."""


def load(path: Path) -> list[dict[str, Any]]:
    """The events, each of the shape that the format has for it, by time."""
    events = json.loads(path.read_text())
    for event in events:
        shape = SHAPES[event["ph"]]
        assert {name: type(value) for name, value in event.items()} == shape, event
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    return events


def spans(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[tuple[int, str, int, int]]]:
    """Depth, name, begin and end of the spans of each thread, in the order of their ends; all must match."""
    stacks: dict[tuple[int, int], list[dict[str, Any]]] = {}
    found: dict[tuple[int, int], list[tuple[int, str, int, int]]] = {}
    for event in events:
        where = (event["pid"], event["tid"])
        if event["ph"] == "B":
            stacks.setdefault(where, []).append(event)
        elif event["ph"] == "E":
            begun = stacks[where].pop()
            assert begun["name"] == event["name"]
            found.setdefault(where, []).append((len(stacks[where]), event["name"], begun["ts"], event["ts"]))
    assert not any(stacks.values())
    return found


def test_the_timeline_of_a_job_with_a_restart_is_whole_nests_and_adds_up(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    options = ["--nproc-per-node=2", "--max-restarts=1", f"--event-log-handler=trace={path}"]
    assert launcher.run(*options, BIN / "end_as_told.py", "wait", "7").code == 1
    events = load(path)
    (pid,) = {event["pid"] for event in events}
    found = spans(events)
    named = {thread: [name for _, name, *_ in found[pid, thread]] for _, thread in found}
    assert [name for name in named[0] if name != "await verdict"] == [
        *("rendezvous", "start", "run"),
        *("stop", "rendezvous", "start", "restart", "run"),
        *("stop", "restart", "leave", "launch"),
    ]
    assert (named[1], named[2], named[3]) == (["round 0", "round 1"], ["rank 0"] * 2, ["rank 1"] * 2)
    failures = [event["name"] for event in events if event["ph"] == "i" and event["tid"] == 3]
    assert failures == ["failure: exit code 7"] * 2
    *_, (_, _, begin, end) = found[pid, 0]
    parts = [(one, other) for depth, _, one, other in found[pid, 0] if depth == 1]
    assert sum(other - one for one, other in parts) <= end - begin < 60_000_000
    gaps = [begin, *(time for part in parts for time in part), end]
    assert gaps == sorted(gaps), "spans of one depth follow one another"
    untold = sum(other - one for one, other in zip(gaps[::2], gaps[1::2], strict=True))
    assert untold < 0.01 * (end - begin) + 100_000, "all of a launch is in some span"


def test_a_launcher_that_is_killed_leaves_a_file_that_can_be_read(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    running = launcher.start(f"--event-log-handler=trace={path}", BIN / "stay.py", tmp_path, "die")
    until(lambda: (tmp_path / "0").exists(), "the worker is there")
    running.process.kill()
    running.wait()
    events = load(path)
    ended = {event["name"] for event in events if event["ph"] == "E"}
    assert {event["name"] for event in events if event["ph"] == "B"} - ended == {"launch", "round 0", "run", "rank 0"}
    launcher.assert_nothing_is_left(10)


def test_the_files_of_two_nodes_merge_into_one_with_a_process_each(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    import subprocess

    options = ["--nnodes=2", f"--master-port={free_port}", f"--event-log-handler=trace={tmp_path / 'traces'}/"]
    program = ["--no-python", BIN / "touch_rank.sh", tmp_path]
    agents = [launcher.start(*options, f"--node-rank={rank}", *program) for rank in (0, 1)]
    assert [agent.wait().code for agent in agents] == [0, 0]
    files = sorted((tmp_path / "traces").iterdir())
    merge = [sys.executable, "-m", "launcher_plugins.event_recorders.trace", tmp_path / "all.json", *files]
    subprocess.run(merge, check=True, timeout=60)
    events = json.loads((tmp_path / "all.json").read_text())
    assert len({event["pid"] for event in events}) == len(files) == 2
    order = {event["args"]["sort_index"] for event in events if event["name"] == "process_sort_index"}
    assert order == {0, 1}
    assert len([name for spans_of in spans(events).values() for _, name, *_ in spans_of if name == "exit barrier"]) == 2


def test_a_job_that_ran_twice_says_what_its_time_went_to(launcher: Launcher) -> None:
    options = ["--nproc-per-node=2", "--max-restarts=1"]
    result = launcher.run(*options, BIN / "end_as_told.py", "wait", "7", env={"OMP_NUM_THREADS": "1"})
    restarted, line, *_ = result.err.splitlines()
    assert restarted.endswith("restart 1 of 1")
    phase = r"\d+ % {} \(\d+\.\d s\)"
    phases = [phase.format(name) for name in ("training", "forming", "restarting", "waiting")]
    assert re.fullmatch(rf"launcher: time: {', '.join(phases)}", line)
