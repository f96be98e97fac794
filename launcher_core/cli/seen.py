"""How a running launch is shown to people: the lines of --status and --stacks, at most 80 columns where paths allow."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from launcher_core.rules.ranks import ranks_text
from launcher_core.rules.stacks import fold, from_json, lines

WIDTH = 80
MAX_CAUSES = 5
HEADER = ("rank", "pid", "memory", "CPU", "state", "last output")


def nobody(pid: int | None, job: str | None) -> str:
    """For when there is none to ask."""
    if pid is not None:
        return f"no launcher of yours runs with pid {pid}; --status lists all"
    if job is not None:
        return f"no launcher of yours on this machine runs the job {job!r}; --status lists all"
    return "no launcher of yours runs on this machine"


def silent(pid: int, why: str) -> str:
    """For a launcher that has not answered."""
    return f"launcher {pid}: {why}; is it stopped? See /proc/{pid}/status"


def neither_form_nor_pid(question: str, value: str) -> str:
    """For a value that means nothing."""
    return f"--{question}={value!r}: write text, json, or a launcher's pid"


def status(facts: Mapping[str, Any]) -> list[str]:
    """One launcher and its workers."""
    workers: Sequence[Mapping[str, Any]] = facts["workers"]
    found = [*_head(facts), *_causes(facts["restarts"]["causes"])]
    if facts.get("hang"):
        found += _wrapped(f"hang: {facts['hang']['reason']}")
    if workers:
        found += _table([HEADER, *(_row(worker) for worker in workers)])
    return [*found, *_logs(workers), *([f"  probes: http://{facts['health']}/readyz"] if facts["health"] else [])]


def stacks(facts: Mapping[str, Any]) -> list[str]:
    """One launcher, and where its workers are: who does the same is shown once."""
    found = {one["rank"]: from_json(one["stack"]) for one in facts["workers"] if one.get("stack")}
    ended = [one["rank"] for one in facts["workers"] if one["exit_code"] is not None]
    rest = [f"{ranks_text(ended)}: ended"] if ended else []
    return [*_head(facts), *(lines(fold(found)) or ([] if ended else ["  no worker runs"])), *rest]


def _head(facts: Mapping[str, Any]) -> Iterator[str]:
    nodes, restarts = facts["nodes"], facts["restarts"]
    name = f"launcher {facts['pid']} on {facts['host']}: job {facts['run_id']}, {facts['command']}"
    yield from _filled(name, "")
    words = [facts["state"]]
    if facts["round"] >= 0:
        words.append(f"round {facts['round']}")
    if nodes["count"] is not None:
        words.append(f"node {nodes['rank']} of {nodes['count']} ({_span(nodes['min'], nodes['max'])})")
        words.append(f"{facts['world_size']} workers in all")
    words.append(f"{restarts['spent']} of {restarts['max']} restarts")
    yield from _wrapped(", ".join(words))
    waiting = facts["waiting"]
    if waiting:
        span = _span(waiting["min"], waiting["max"])
        yield from _wrapped(f"waiting: {waiting['have']} of {span} nodes are here; {waiting['detail']}")


def _span(low: int, high: int) -> str:
    return f"{low}" if low == high else f"{low} to {high}"


def _causes(causes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The latest reasons for which rounds ended."""
    for cause in causes[-MAX_CAUSES:]:
        often = f" ({cause['count']} times)" if cause["count"] > 1 else ""
        yield from _wrapped(f"{cause['kind']}{often}: {cause['reason']}")
    if len(causes) > MAX_CAUSES:
        yield f"  and {len(causes) - MAX_CAUSES} earlier reasons (--status=json)"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _filled(text: str, indent: str) -> list[str]:
    whole: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}  # paths stay in one piece
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent="    ", **whole)


def _row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    code, age = worker["exit_code"], worker["last_output_seconds"]
    if code is not None:
        state = f"exit code {code}" if code >= 0 else f"signal {-code}"
    else:
        state = worker["process_state"] or "-"
    return (
        str(worker["rank"]),
        str(worker["pid"] or "-"),
        _size(worker["rss_bytes"]),
        _time(worker["cpu_seconds"]),
        state,
        "-" if age is None else f"{_time(age)} ago",
    )


def _size(count: int | None) -> str:
    """Bytes in the unit in which they have one to four digits."""
    if count is None:
        return "-"
    for shift, unit in ((30, "GiB"), (20, "MiB")):
        if count >= 10 << shift:
            return f"{count >> shift} {unit}"
    return f"{count >> 10} KiB"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, all but the last two to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.rjust(width) if index < 4 else text.ljust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def _logs(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the files of output are; which is whose is in --status=json."""
    paths = {one[stream] for one in workers for stream in ("stdout", "stderr")} - {"", os.devnull}
    if not paths:
        return []
    one = next(iter(paths)) if len(paths) == 1 else os.path.commonpath([os.path.abspath(path) for path in paths])
    return [f"  output: {one}"]
