"""The recorder that `--event-log-handler trace[=PATH]` names: a timeline for Perfetto and chrome://tracing.

The file is an array of Chrome trace events. Each event is one write that puts the closing bracket back behind it, so
the file is whole JSON at any time, also when the launcher is killed: spans that were open then have no end.
One file per agent; `python -m launcher_plugins.event_recorders.trace OUT FILE...` makes one of several.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event
from launcher_core.rules.timeline import AGENT, ROUNDS, Mark, Timeline, moment

END = b"\n]\n"
_THREADS = {AGENT: 0, ROUNDS: 1}
KINDS = {"open": "B", "close": "E", "instant": "i"}


@hookimpl
def launcher_make_recorder(argument: str | None, log_dir: str | None) -> TraceRecorder:
    """A recorder that writes to `argument`, else to trace-HOST-PID.json in `log_dir`, else in the current directory.

    A directory, or what ends with a slash, gets a file of that name, too. Raises OSError, with the path, when the
    file cannot be written.
    """
    name = f"trace-{socket.gethostname()}-{os.getpid()}.json"
    if argument and not argument.endswith("/") and not os.path.isdir(argument):
        return TraceRecorder(argument)
    folder = argument or log_dir or os.curdir
    return TraceRecorder(os.devnull if os.path.abspath(folder) == os.devnull else os.path.join(folder, name))


class TraceRecorder:
    """Writes one file anew: a process for this node, a thread for its agent and for each worker."""

    detailed = True

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise type(error)(self._cannot("be opened", error)) from error
        self._at = 0
        self._timeline = Timeline()
        self._pid = 0
        self._named: set[int] = set()

    def record(self, event: Event) -> None:
        """Write what the event adds to the timeline. Raises OSError when all of it does not fit."""
        told = moment(event)
        if told is not None and told.state == "BEGUN":
            self._pid = process(str(told.facts.get("node")))
            self._write(self._names(told.facts))
        for mark in self._timeline.take(event):
            self._mark(mark)

    def close(self) -> None:
        """End what is open, and close the file."""
        try:
            for mark in self._timeline.end():
                self._mark(mark)
            if not self._at:
                self._put(b"[\n]\n")
        finally:
            os.close(self._fd)

    def _names(self, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
        label = f"{facts.get('hostname')} (launcher {facts.get('agent_pid')})"
        return [
            self._meta("process_name", 0, {"name": label}),
            self._meta("process_labels", 0, {"labels": f"job {facts.get('run_id')}"}),
        ]

    def _mark(self, mark: Mark) -> None:
        thread = _THREADS.get(mark.track, mark.track + len(_THREADS))
        if thread not in self._named:
            self._named.add(thread)
            name = {AGENT: "agent", ROUNDS: "rounds"}.get(mark.track, f"worker {mark.track}")
            order = self._meta("thread_sort_index", thread, {"sort_index": thread})
            self._write([self._meta("thread_name", thread, {"name": name}), order])
        event = {"name": mark.name, "cat": "launcher", "ph": KINDS[mark.kind], "ts": mark.at, "pid": self._pid}
        event |= {"tid": thread, "args": dict(mark.facts)}
        if mark.kind == "instant":
            event["s"] = "t"
        self._write([event])
        if mark.name == "start" and mark.kind == "open" and "group_rank" in mark.facts:
            self._write([self._meta("process_sort_index", 0, {"sort_index": mark.facts["group_rank"]})])

    def _meta(self, name: str, thread: int, args: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": name, "ph": "M", "pid": self._pid, "tid": thread, "args": args}

    def _write(self, events: Sequence[Mapping[str, Any]]) -> None:
        text = ",\n".join(json.dumps(event) for event in events).encode()
        begin = b",\n" if self._at else b"[\n"
        self._put(begin + text + END)
        self._at += len(begin) + len(text)

    def _put(self, data: bytes) -> None:
        try:
            written = os.pwrite(self._fd, data, self._at)
        except OSError as error:
            raise type(error)(self._cannot("be written", error)) from error
        if written < len(data):
            raise OSError(f"trace file {self._path!r}: only {written} of {len(data)} bytes could be written")

    def _cannot(self, what: str, error: OSError) -> str:
        return (
            f"trace file {self._path!r} cannot {what}: {error.strerror}; "
            "name another one with --event-log-handler trace=PATH"
        )


def process(node: str) -> int:
    """A number for a node's agent that no other agent of the job has, though pids repeat from host to host."""
    try:
        return int(node[:7], 16) + 1
    except ValueError:
        return 1


def merged(texts: Iterable[str]) -> str:
    """One timeline of several, given and returned as text. Raises ValueError for what is none."""
    events: list[Any] = []
    for text in texts:
        more = json.loads(text)
        if not isinstance(more, list):
            raise ValueError("this is no array of trace events")
        events += more
    return "[\n" + ",\n".join(json.dumps(event) for event in events) + "\n]\n"


def main(arguments: Sequence[str]) -> int:
    """Merge the files that the arguments name into the first; the exit code."""
    if len(arguments) < 2:
        print("usage: python -m launcher_plugins.event_recorders.trace OUT FILE...", file=sys.stderr)
        return 2
    texts = []
    for path in arguments[1:]:
        try:
            with open(path, encoding="utf-8") as file:
                texts.append(file.read())
            merged(texts[-1:])
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
    with open(arguments[0], "w", encoding="utf-8") as file:
        file.write(merged(texts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
