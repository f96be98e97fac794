"""Every line that real jobs write is as docs/events.md has it, and every event that it lists is written by some job."""

from __future__ import annotations

import json
import re
import signal
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

from launches import Launcher, until

BIN = Path(__file__).parent / "bin"
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text()
TYPES = {"string": str, "integer": int, "object": dict, "list": list, "boolean": bool, "null": type(None)}
SELDOM = {"AWAITING", "STALLED", "RESUMED"}
"""Whether the verdict of the others has to be waited for is a matter of moments; workers hang in tests of their own."""
OWN, TORCH = "launcher.", "torchelastic.worker.status."


def table(first: str, page: str = PAGE) -> dict[str, list[str]]:
    """The other cells of each row of the table whose first heading this is, by the name in the first cell."""
    lines = page.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = takewhile(lambda line: line.startswith("|"), lines[begin + 2 :])
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {name.strip("`"): others for name, *others in cells}


def states(heading: str) -> dict[str, list[str]]:
    """The table of states under a heading."""
    return table("state", PAGE[PAGE.index(f"## {heading}") :])


def allowed(kinds: str) -> tuple[type, ...]:
    return tuple(TYPES[kind] for kind in kinds.split(" or "))


def check(found: dict[str, Any], *, fields: dict[str, list[str]], where: str) -> None:
    """All the fields, in order, of the types that the page says."""
    assert list(found) == list(fields), where
    for name, value in found.items():
        assert type(value) in allowed(fields[name][0]), f"{where}: {name}={value!r} is no {fields[name][0]}"


def check_line(line: str) -> dict[str, Any]:
    """The event of a line, if that is as the page has it."""
    event: dict[str, Any] = json.loads(line)
    check(event, fields=table("field"), where=line)
    metadata = event["metadata"]
    check(metadata, fields=table("metadata"), where=line)
    inner, fields = json.loads(metadata["metadata"]), table("inner")
    if event["source"] == "AGENT":
        fields = {name: cells for name, cells in fields.items() if cells[0] != "list"}
    ours = event["name"].startswith(OWN)
    prefix = f"launcher.{event['source'].lower()}." if ours else TORCH
    assert event["name"] == prefix + metadata["state"]
    source, *_, further = states("The launcher's own" if ours else "torch elastic's")[metadata["state"]]
    assert event["source"] in source.split(", ")
    if ours:
        own = dict(table("own"))
        time_us = {"time_us": own.pop("time_us")}
        named = re.findall(r"`(\w+)`", further)
        fields = {**fields, **own, **{name: table("further")[name] for name in named}, **time_us}
        assert (inner["schema"], inner["time_us"] // 1000) == (1, event["timestamp"])
    check(inner, fields=fields, where=line)
    return event


def told(path: Path) -> list[dict[str, Any]]:
    """The events of the file, checked, in order; none where there is no file yet."""
    return [check_line(line) for line in path.read_text().splitlines()] if path.exists() else []


def own(path: Path) -> list[str]:
    return [event["metadata"]["state"] for event in told(path) if event["name"].startswith(OWN)]


def test_jobs_of_every_kind_write_lines_as_the_page_has_them(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    def log(name: str) -> str:
        return f"--event-log-handler=jsonl={tmp_path / name}"

    two = "--nproc-per-node=2"
    assert launcher.run(two, log("good"), "--no-python", BIN / "touch_rank.sh", tmp_path).code == 0
    assert launcher.run(two, log("bad"), "--max-restarts=1", BIN / "end_as_told.py", "wait", "7").code == 1
    stopped = launcher.start(log("stopped"), BIN / "stay.py", tmp_path, "die")
    until(lambda: "RUNNING" in own(tmp_path / "stopped"), "the worker runs")
    stopped.signal(signal.SIGTERM)
    assert stopped.wait().code == 143
    both = ["--nnodes=2", f"--master-port={free_port}"]
    fails = [BIN / "end_as_told.py", "wait", "3"]
    agents = [launcher.start(*both, f"--node-rank={rank}", log(f"node{rank}"), *fails) for rank in (0, 1)]
    assert [agent.wait().code for agent in agents] == [1, 1]

    begin, end = ["STARTING", "STARTED", "STARTED", "RUNNING"], ["EXITED", "STOPPING", "EXITED"]
    succeed = ["EXITED", "EXITED", "FINISHING", "LEAVING", "ENDED"]
    assert own(tmp_path / "good") == ["BEGUN", "JOINING", *begin, *succeed]
    certain = [state for state in own(tmp_path / "bad") if state not in SELDOM]
    assert certain == ["BEGUN", "JOINING", *begin, *end, "JOINING", *begin, *end, "LEAVING", "ENDED"]
    assert own(tmp_path / "stopped")[-5:] == ["SIGNALLED", "STOPPING", "EXITED", "LEAVING", "ENDED"]
    written = set()
    for name in ("good", "bad", "stopped", "node0", "node1"):
        events = told(tmp_path / name)
        assert all(one["timestamp"] <= other["timestamp"] for one, other in pairwise(events))
        written |= {event["metadata"]["state"] for event in events if event["name"].startswith(OWN)}
    assert set(states("The launcher's own")) - written <= SELDOM
    causes = {cause for name in ("node0", "node1") for cause in stops(tmp_path / name)}
    assert causes == {"failure", "over"}


def stops(path: Path) -> list[str]:
    """Why the workers were stopped, each time."""
    inner = [json.loads(event["metadata"]["metadata"]) for event in told(path)]
    return [one["cause"] for one, event in zip(inner, told(path), strict=True) if event["name"].endswith("STOPPING")]
