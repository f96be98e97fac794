"""The recorder `trace`: real files, nothing else; what the spans are is the business of rules/timeline.py."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from launcher_core.model.record import Event, EventSource
from launcher_plugins.event_recorders import trace


def event(at: int, state: str, local_rank: int | None = None, **fields: Any) -> Event:
    inner = {**fields, "time_us": at, **({} if local_rank is None else {"local_rank": [local_rank]})}
    about = ("agent", EventSource.AGENT) if local_rank is None else ("worker", EventSource.WORKER)
    metadata = {"state": state, "run_id": "job", "hostname": "ada", "global_rank": local_rank}
    return Event(f"launcher.{about[0]}.{state}", about[1], 0, {**metadata, "metadata": json.dumps(inner)})


STORY = [
    event(0, "BEGUN", node="abcdef0123", agent_pid=7),
    event(1, "JOINING", cause="first"),
    event(2, "STARTING", round=0, group_rank=1),
    event(3, "STARTED", 0),
    event(4, "RUNNING", round=0),
    event(5, "EXITED", 0, exit_code=[9]),
    event(6, "STOPPING", cause="failure", reason='"why"'),
    event(7, "LEAVING"),
    event(8, "ENDED", result="FAILED"),
]


def test_the_file_is_whole_json_after_every_event(tmp_path: Path) -> None:
    recorder = trace.launcher_make_recorder(str(tmp_path / "t.json"), None)
    sizes = [0]
    for one in STORY:
        recorder.record(one)
        sizes.append(len(json.loads((tmp_path / "t.json").read_text())))
    recorder.close()
    assert sizes == sorted(set(sizes))
    assert len(json.loads((tmp_path / "t.json").read_text())) == sizes[-1]


def test_a_launcher_that_is_killed_leaves_spans_that_have_begun(tmp_path: Path) -> None:
    recorder = trace.launcher_make_recorder(str(tmp_path / "t.json"), None)
    for one in STORY[:5]:
        recorder.record(one)
    events = json.loads((tmp_path / "t.json").read_text())
    begun, ended = ([one["name"] for one in events if one["ph"] == phase] for phase in "BE")
    assert set(begun) - set(ended) == {"launch", "round 0", "rank 0", "run"}
    recorder.close()
    ended = [one["name"] for one in json.loads((tmp_path / "t.json").read_text()) if one["ph"] == "E"]
    assert sorted(begun) == sorted(ended)


def test_nodes_and_threads_have_names(tmp_path: Path) -> None:
    recorder = trace.launcher_make_recorder(str(tmp_path / "t.json"), None)
    for one in STORY:
        recorder.record(one)
    recorder.close()
    events = json.loads((tmp_path / "t.json").read_text())
    names = {(one["name"], one["tid"]): one["args"] for one in events if one["ph"] == "M"}
    assert names["process_name", 0] == {"name": "ada (launcher 7)"}
    assert names["process_sort_index", 0] == {"sort_index": 1}
    threads = {thread: args["name"] for (name, thread), args in names.items() if name == "thread_name"}
    assert threads == {0: "agent", 1: "rounds", 2: "worker 0"}
    assert {one["pid"] for one in events} == {trace.process("abcdef0123")}


def test_a_launch_that_told_nothing_is_an_empty_timeline(tmp_path: Path) -> None:
    trace.launcher_make_recorder(str(tmp_path / "t.json"), None).close()
    assert json.loads((tmp_path / "t.json").read_text()) == []


def test_a_file_of_an_earlier_launch_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("x" * 10_000)
    recorder = trace.launcher_make_recorder(str(tmp_path / "t.json"), None)
    recorder.record(STORY[0])
    assert len(json.loads((tmp_path / "t.json").read_text())) == 5
    recorder.close()


@pytest.mark.parametrize(
    ("argument", "log_dir", "folder"), [(None, "logs", "logs"), (None, None, "."), ("there/", "logs", "there")]
)
def test_a_file_that_nobody_named_is_one_of_this_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str | None, log_dir: str | None, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    trace.launcher_make_recorder(argument, log_dir).close()
    (file,) = (tmp_path / folder).iterdir()
    assert file.name.startswith("trace-") and file.name.endswith(f"-{os.getpid()}.json")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"^trace file '.*file/t\.json' cannot be opened: .*trace=PATH$"):
        trace.launcher_make_recorder(str(tmp_path / "file" / "t.json"), None)


def test_files_of_several_nodes_are_merged_into_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "ab":
        recorder = trace.launcher_make_recorder(str(tmp_path / name), None)
        recorder.record(event(0, "BEGUN", node=f"{name}000000", agent_pid=1))
        recorder.close()
    files = [str(tmp_path / name) for name in ("all", "a", "b")]
    assert trace.main(files) == 0
    events = json.loads((tmp_path / "all").read_text())
    assert events == [*json.loads((tmp_path / "a").read_text()), *json.loads((tmp_path / "b").read_text())]
    assert len({one["pid"] for one in events}) == 2
    (tmp_path / "b").write_text("{}")
    assert (trace.main(files), trace.main(files[:1])) == (1, 2)
    assert "b: this is no array of trace events" in capsys.readouterr().err
