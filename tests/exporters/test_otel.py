"""Spans and numbers of real jobs, read back by a collector that decodes what OpenTelemetry's own exporter sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collector import Collector, plain
from launches import Launcher

BIN = Path(__file__).parent / "bin"
ERROR = 2


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector, until the test is over."""
    one = Collector()
    yield one
    one.close()


def tree(spans: list[Any], parent: bytes = b"") -> list[tuple[str, list[Any]]]:
    """Names of spans with those within them."""
    return [(one.name, tree(spans, one.span_id)) for one in spans if one.parent_span_id == parent]


def test_a_job_with_a_restart_is_one_trace_of_spans_within_spans(
    launcher: Launcher, collector: Collector, tmp_path: Path
) -> None:
    options = [
        "--nproc-per-node=2",
        "--max-restarts=1",
        "--rdzv-id=the-job",
        f"--event-log-handler=otel={collector.url}",
    ]
    result = launcher.run(*options, BIN / "fail_once.py", tmp_path, env={"OMP_NUM_THREADS": "1"})
    assert result.code == 0
    assert "otel" not in result.err
    spans = collector.spans()
    assert len({span.trace_id for span in spans}) == 1
    ((job, ((launch, within),)),) = tree(spans)
    assert (job, launch) == ("job", "launch")
    names = [name for name, _ in within if name != "leave" and not name.startswith("round")]
    assert names == ["rendezvous", "start", "run", "restart", "run", "exit barrier"]
    inside = {name: [one for one, _ in parts] for name, parts in within}
    assert (inside["round 0"], inside["round 1"]) == (["rank 0", "rank 1"], ["rank 0", "rank 1"])
    assert [name for name in inside["restart"] if name != "await verdict"] == ["stop", "rendezvous", "start"]
    for span in spans:
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    failed = [span for span in spans if span.name == "rank 1" and span.status.code == ERROR]
    (failure,) = failed
    assert plain(failure.attributes) | {"launcher.pid": 0} == {
        "launcher.global_rank": 1,
        "launcher.round": 0,
        "launcher.pid": 0,
        "launcher.exit_code": 7,
        "launcher.stopped": False,
    }
    assert [event.name for event in failure.events] == ["failure: exit code 7"]
    assert {resource["service.name"] for resource in collector.resources()} == {"launcher"}


def test_the_numbers_of_a_job_are_what_happened(launcher: Launcher, collector: Collector, tmp_path: Path) -> None:
    options = ["--nproc-per-node=2", "--max-restarts=1", "--event-log-handler=otel"]
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "token=secret"}
    begun = time.monotonic()
    assert launcher.run(*options, BIN / "fail_once.py", tmp_path, env=env).code == 0
    took = time.monotonic() - begun
    numbers = collector.numbers()
    assert numbers["launcher.restarts", "failure"] == 1
    assert numbers["launcher.round", ""] == 1
    assert numbers["launcher.worker_exits", "failed,7"] == 1
    assert numbers["launcher.worker_exits", "succeeded,0"] >= 2
    assert numbers["launcher.rendezvous_seconds.count", ""] == 2
    assert numbers["launcher.state", "ended"] == 1
    phases = [value for (name, _), value in numbers.items() if name == "launcher.phase_seconds"]
    assert len(phases) == 4 and 0 < sum(phases) < took
    assert {headers.get("token") for headers in collector.headers} == {"secret"}


def test_two_nodes_are_parts_of_one_trace(
    launcher: Launcher, collector: Collector, tmp_path: Path, free_port: int
) -> None:
    options = ["--nnodes=2", f"--master-port={free_port}", "--rdzv-id=two", f"--event-log-handler=otel={collector.url}"]
    agents = [launcher.start(*options, f"--node-rank={rank}", BIN / "fail_once.py", tmp_path / "x") for rank in (0, 1)]
    assert [agent.wait().code for agent in agents] == [1, 1]
    ((job, launches),) = tree(collector.spans())
    assert (job, [name for name, _ in launches]) == ("job", ["launch", "launch"])


def test_a_job_is_part_of_the_trace_that_it_is_told_of(
    launcher: Launcher, collector: Collector, tmp_path: Path
) -> None:
    env = {"TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    assert launcher.run(f"--event-log-handler=otel={collector.url}", BIN / "fail_once.py", tmp_path, env=env).code == 0
    spans = collector.spans()
    assert {span.trace_id.hex() for span in spans} == {"ab" * 16}
    assert [span.name for span in spans if span.parent_span_id.hex() == "cd" * 8] == ["launch"]


def test_a_collector_that_is_away_is_told_of_in_one_line_and_changes_nothing(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    options = [f"--event-log-handler=otel=http://127.0.0.1:{free_port}"]
    result = launcher.run(*options, BIN / "fail_once.py", tmp_path)
    assert (result.code, len(result.err.splitlines())) == (0, 1)
    assert "event recorder 'otel' could not be closed" in result.err
    assert "otel=URL" in result.err and str(free_port) in result.err


def test_a_collector_that_refuses_is_told_of_in_one_line(launcher: Launcher, tmp_path: Path) -> None:
    refusing = Collector(400)
    try:
        result = launcher.run(f"--event-log-handler=otel={refusing.url}", BIN / "fail_once.py", tmp_path)
    finally:
        refusing.close()
    assert (result.code, len(result.err.splitlines())) == (0, 1)
    assert "spans could not be sent" in result.err


def test_forked_workers_send_nothing_of_their_own(launcher: Launcher, collector: Collector, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text("print('hello')\n")
    options = ["--start-method=fork", "--run-path", f"--event-log-handler=otel={collector.url}"]
    assert launcher.run(*options, script).code == 0
    assert len({resource["process.pid"] for resource in collector.resources()}) == 1
