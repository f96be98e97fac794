"""The events of a launch as recorders get them: which, in which order, with which keys."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from in_process import Distributions
from launches import Launcher, until

BIN = Path(__file__).parent / "bin"
END, TOUCH_SH = BIN / "end_as_told.py", BIN / "touch_rank.sh"
KEYS = [
    "run_id",
    "global_rank",
    "group_rank",
    "worker_id",
    "role",
    "hostname",
    "state",
    "total_run_time",
    "rdzv_backend",
    "raw_error",
    "metadata",
    "agent_restarts",
    "duration_ms",
]
AGENT_KEYS = ["group_world_size", "entry_point"]
WORKER_KEYS = [*AGENT_KEYS, "local_rank", "role_rank", "role_world_size", "exit_code", "worker_pid"]
STATUS = "torchelastic.worker.status."
ROUND = [("AGENT", "RENDEZVOUS", None), ("AGENT", "ASSIGN_WORKER_RANKS", None)]


def events(path: Path) -> list[dict[str, Any]]:
    """The events of the file that torch elastic has, too, in order; test_event_schema.py is about the others."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in found if event["name"].startswith(STATUS)]


def story(path: Path) -> list[tuple[str, str, int | None]]:
    """(source, state, global rank) of each event."""
    return [(event["source"], event["metadata"]["state"], event["metadata"]["global_rank"]) for event in events(path)]


def inner(event: dict[str, Any]) -> dict[str, Any]:
    """The JSON within the JSON."""
    found: dict[str, Any] = json.loads(event["metadata"]["metadata"])
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where a launch writes its events."""
    return tmp_path / "events.jsonl"


def test_a_job_that_succeeds_has_these_events_in_this_order(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    options = ["--nproc-per-node=2", f"--event-log-handler=jsonl={log}", "--no-python"]
    assert launcher.run(*options, TOUCH_SH, tmp_path).code == 0
    assert story(log) == [
        *ROUND,
        ("WORKER", "START", 0),
        ("WORKER", "START", 1),
        ("WORKER", "SUCCEEDED", 0),
        ("WORKER", "SUCCEEDED", 1),
        ("AGENT", "SUCCEEDED", None),
    ]


def test_a_job_that_is_restarted_and_fails_has_these_events(launcher: Launcher, log: Path) -> None:
    options = ["--nproc-per-node=2", "--max-restarts=1", f"--event-log-handler=jsonl={log}"]
    assert launcher.run(*options, END, "wait", "7").code == 1
    started = [*ROUND, ("WORKER", "START", 0), ("WORKER", "START", 1)]
    ended = [("WORKER", "TERMINATED", 0), ("WORKER", "FAILED", 1), ("AGENT", "FAILED", None)]
    assert story(log) == [*started, *started, *ended]
    found = events(log)
    assert [event["metadata"]["agent_restarts"] for event in found] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
    terminated, failed, agent = found[-3:]
    assert (inner(terminated)["exit_code"], terminated["metadata"]["raw_error"]) == ([-15], None)
    assert inner(failed)["exit_code"] == [7]
    assert json.loads(failed["metadata"]["raw_error"]) == {
        "message": "<NONE>",
        "errorTraits": {"category": "system_terminated_error", "retryability": "False"},
    }
    assert agent["metadata"]["raw_error"].startswith(f"ChildFailedError: {END} FAILED: rank 1 on ")


def test_every_event_has_these_keys_in_this_order(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    before = int(time.time() * 1000)
    options = ["--rdzv-backend=c10d", "--rdzv-id=job", "--role=trainer", f"--event-log-handler=jsonl={log}"]
    assert launcher.run(*options, "--no-python", TOUCH_SH, tmp_path).code == 0
    after = int(time.time() * 1000)
    found = events(log)
    times = [event["timestamp"] for event in found]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
    for event in found:
        metadata = event["metadata"]
        assert list(event) == ["name", "source", "timestamp", "metadata"]
        assert list(metadata) == KEYS
        assert event["name"] == STATUS + metadata["state"]
        assert list(inner(event)) == (AGENT_KEYS if event["source"] == "AGENT" else WORKER_KEYS)
        assert (metadata["run_id"], metadata["role"], metadata["rdzv_backend"]) == ("job", "trainer", "c10d")
        assert (metadata["hostname"], inner(event)["entry_point"]) == (socket.gethostname(), str(TOUCH_SH))
        assert 0 <= metadata["total_run_time"] <= 60


def test_the_events_of_one_worker_say_who_it_is(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    options = ["--nproc-per-node=2", f"--event-log-handler=jsonl={log}", "--no-python"]
    assert launcher.run(*options, TOUCH_SH, tmp_path).code == 0
    rendezvous, ranks, _, start, _, end, agent = events(log)
    pid = int(start["metadata"]["worker_id"])
    identity = {"group_world_size": 1, "entry_point": str(TOUCH_SH), "local_rank": [1], "role_rank": [1]}
    assert inner(start) == {**identity, "role_world_size": [2], "exit_code": [None], "worker_pid": [pid]}
    assert inner(end) == {**identity, "role_world_size": [2], "exit_code": [0], "worker_pid": [pid]}
    assert [(event["metadata"]["global_rank"], event["metadata"]["group_rank"]) for event in (start, end)] == [
        (1, 0)
    ] * 2
    assert (inner(rendezvous)["group_world_size"], rendezvous["metadata"]["group_rank"]) == (None, None)
    assert (inner(ranks)["group_world_size"], ranks["metadata"]["group_rank"]) == (1, 0)
    durations = [event["metadata"]["duration_ms"] is not None for event in events(log)]
    assert durations == [True, True, False, False, False, False, False]
    assert (agent["metadata"]["worker_id"], agent["metadata"]["raw_error"]) == (None, None)


def test_an_exception_that_a_worker_recorded_is_in_its_event(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    script = tmp_path / "raises.py"
    script.write_text("from launcher_core import record\n@record\ndef main(): raise KeyError('gone')\nmain()\n")
    assert launcher.run(f"--event-log-handler=jsonl={log}", script).code == 1
    failed = events(log)[-2]
    message = json.loads(failed["metadata"]["raw_error"])["message"]
    assert message["message"] == "KeyError: 'gone'"
    assert message["extraInfo"]["py_callstack"].startswith("Traceback (most recent call last):\n")


def test_a_launch_that_a_signal_stops_is_failed(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    import signal

    running = launcher.start(f"--event-log-handler=jsonl={log}", BIN / "stay.py", tmp_path, "die")
    until(lambda: (tmp_path / "0").exists(), "the worker is there")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 143
    assert story(log)[-2:] == [("WORKER", "TERMINATED", 0), ("AGENT", "FAILED", None)]
    assert events(log)[-1]["metadata"]["raw_error"] == f"SignalException: Process {running.pid} got signal: 15"


def test_a_launch_whose_workers_cannot_start_is_failed(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    script = tmp_path / "no-shebang"
    script.write_text("echo\n")
    script.chmod(0o755)
    assert launcher.run(f"--event-log-handler=jsonl={log}", "--no-python", script).code == 1
    assert story(log) == [*ROUND, ("AGENT", "FAILED", None)]
    assert events(log)[-1]["metadata"]["raw_error"].startswith(f"StartError: cannot start {script}: ")


def test_two_nodes_write_their_own_events_to_one_file(
    launcher: Launcher, log: Path, tmp_path: Path, free_port: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", f"--event-log-handler=jsonl={log}", "--no-python"]
    agents = [launcher.start(*options, f"--node-rank={rank}", TOUCH_SH, tmp_path) for rank in (0, 1)]
    assert [agent.wait().code for agent in agents] == [0, 0]
    by_node = {
        rank: [event["metadata"]["state"] for event in events(log) if event["metadata"]["group_rank"] == rank]
        for rank in (0, 1)
    }
    expected = ["ASSIGN_WORKER_RANKS", "START", "SUCCEEDED", "SUCCEEDED"]
    assert by_node == {0: expected, 1: expected}


# --- recorders -------------------------------------------------------------------------------------------


def test_several_recorders_get_the_same_events(launcher: Launcher, log: Path, tmp_path: Path) -> None:
    result = launcher.run(f"--event-log-handler=console,null,jsonl={log}", "--no-python", TOUCH_SH, tmp_path)
    assert (result.code, result.err) == (0, log.read_text())
    assert len(events(log)) == 5


def test_events_go_to_the_log_directory_when_no_file_is_named(launcher: Launcher, tmp_path: Path) -> None:
    options = ["--event-log-handler=jsonl", f"--log-dir={tmp_path / 'logs'}", "--no-python"]
    assert launcher.run(*options, TOUCH_SH, tmp_path).code == 0
    assert len(events(tmp_path / "logs" / "events.jsonl")) == 5


def test_no_event_is_written_unless_asked_for(launcher: Launcher, tmp_path: Path) -> None:
    result = launcher.run("--no-python", TOUCH_SH, tmp_path)
    assert result == (0, f"creating {tmp_path}/0\n", "")


RAISES = """
from launcher_core import hookimpl

class Raising:
    def record(self, event):
        raise RuntimeError("the disk is gone")

    def close(self):
        open({closed!r}, "a").write("closed\\n")

@hookimpl
def launcher_make_recorder():
    return Raising()
"""


def test_a_recorder_that_raises_is_dropped_and_the_job_and_the_others_go_on(
    launcher: Launcher, distributions: Distributions, log: Path, tmp_path: Path
) -> None:
    source = RAISES.format(closed=str(tmp_path / "closed"))
    distributions.install(
        "raising", "[launcher.event_recorders]\nraising = raising_recorder\n", raising_recorder=source
    )
    options = [f"--event-log-handler=raising,jsonl={log}", "--nproc-per-node=2", "--no-python"]
    result = launcher.run(*options, TOUCH_SH, tmp_path, env={"OMP_NUM_THREADS": "1"})
    assert result.code == 0
    assert len(events(log)) == 7
    (line,) = result.err.splitlines()
    assert "raising" in line and "RuntimeError: the disk is gone" in line
    assert (tmp_path / "closed").read_text() == "closed\n"
    assert os.path.getsize(log) > 0
