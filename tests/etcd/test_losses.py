"""A node is lost, and the workers of the others fail of it long before anybody can know why."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from etcd import Cluster
from launches import Launcher, Running, until

MEET = Path(__file__).parent / "bin" / "meet.py"
Start = Callable[..., Running]


@pytest.fixture(params=["etcd", "file"])
def start(request: pytest.FixtureRequest, launcher: Launcher, etcd: Cluster, tmp_path: Path) -> Start:
    """Start an agent of a job of one to three nodes."""
    endpoint = etcd.endpoint if request.param == "etcd" else tmp_path
    lost = "lease_ttl=3" if request.param == "etcd" else "keep_alive_interval=1"
    words = ["--nnodes=1:3", f"--rdzv-backend={request.param}", f"--rdzv-endpoint={endpoint}", "--rdzv-id=lost"]
    common = [*words, f"--rdzv-conf=last_call_timeout=3,{lost}", "--local-addr=127.0.0.1"]
    return lambda *more: launcher.start(*common, *more)


@pytest.mark.parametrize("restarts", [0, 1])
def test_it_costs_no_restart_whichever_node_it_is(start: Start, tmp_path: Path, restarts: int) -> None:
    agents = [start(f"--max-restarts={restarts}", MEET, tmp_path) for _ in range(3)]
    until(lambda: (tmp_path / "2of3").exists(), "three nodes to meet")
    agents[0].signal(signal.SIGKILL)
    agents[0].process.wait()
    until(lambda: (tmp_path / "1of2").exists(), "two nodes to go on")
    agents[1].signal(signal.SIGKILL)
    agents[1].process.wait()

    end = agents[2].wait()

    assert (end.code, (tmp_path / "0of1").read_text()) == (0, "0"), end


def test_a_failure_that_no_loss_explains_ends_the_job_at_once(start: Start, tmp_path: Path) -> None:
    agents = [start(MEET, tmp_path, 1) for _ in range(3)]

    ends = [agent.wait() for agent in agents]

    assert [end.code for end in ends] == [1, 1, 1], ends
    assert all("exited with code 7" in end.err or "exit code 7" in end.err for end in ends), ends
