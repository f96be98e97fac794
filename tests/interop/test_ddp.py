"""DistributedDataParallel on gloo: trained at the store that the launcher serves, restarted, and as by torchrun."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest
from launches import Launcher, Result, Running, until

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers: pip install torch")
DDP = Path(__file__).parent / "bin" / "ddp.py"
QUIET = {"OMP_NUM_THREADS": "1"}
LINE = re.compile(r"rank (\d+) attempt (\d+) first (\S+) last (\S+) weights (\w+)")


class Trained(NamedTuple):
    """What a rank ended with. Losses are the mean over all ranks; `weights` is a digest of their bytes."""

    attempt: int
    first: float
    last: float
    weights: str


Job = dict[int, Trained]
"""By rank."""


def trained(*results: Result) -> Job:
    """What a job's ranks ended with, from the output of all its nodes; each must have said it once."""
    assert [result.code for result in results] == [0] * len(results), results
    found = LINE.findall("".join(result.out for result in results))
    assert sorted(rank for rank, *_ in found) == sorted({rank for rank, *_ in found})
    return {
        int(rank): Trained(int(attempt), float(first), float(last), weights)
        for rank, attempt, first, last, weights in found
    }


def after(attempts: int, job: Job) -> Job:
    """The same job, finished in a later attempt."""
    return {rank: end._replace(attempt=attempts) for rank, end in job.items()}


def on_a_free_port(launch: Callable[[int], tuple[Result, ...]]) -> tuple[Result, ...]:
    """What `launch` returns for a port that nobody has; tried again when somebody was faster."""
    for _ in range(5):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        results = launch(port)
        if not any(result.code == 2 and "in use" in result.err for result in results):
            break
    return results


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    """Launches that several tests look at."""
    tools = Launcher(tmp_path_factory.mktemp("shared"))
    yield tools
    tools.end()


@pytest.fixture(scope="module")
def two(shared: Launcher) -> Job:
    """Two workers, undisturbed."""
    return trained(shared.run("--nproc-per-node=2", DDP, env=QUIET))


@pytest.fixture(scope="module")
def four(shared: Launcher) -> Job:
    """Four workers, undisturbed."""
    return trained(shared.run("--nproc-per-node=4", DDP, env=QUIET))


# --- training --------------------------------------------------------------------------------------------


def test_the_loss_falls_and_all_ranks_agree_bit_for_bit(four: Job) -> None:
    assert set(four) == {0, 1, 2, 3}
    (end,) = set(four.values())
    assert end.attempt == 0
    assert end.last < end.first / 10


def test_an_undisturbed_job_says_nothing_of_its_own(shared: Launcher, four: Job) -> None:
    assert [one.err for one in shared.running] == [""] * len(shared.running)


def test_workers_that_meet_at_a_url_train_alike(launcher: Launcher, four: Job) -> None:
    def launch(port: int) -> tuple[Result, ...]:
        url = f"--init-method=tcp://localhost:{port}"
        return (launcher.run("--nproc-per-node=4", f"--master-port={port}", DDP, url),)

    assert trained(*on_a_free_port(launch)) == four


def test_torchrun_gives_the_same_numbers(launcher: Launcher, four: Job) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=4", str(DDP)]
    done = subprocess.run(
        torchrun, env=launcher.env, cwd=launcher.tmp, capture_output=True, text=True, timeout=90, check=False
    )
    assert trained(Result(done.returncode, done.stdout, done.stderr)) == four


# --- workers that die ------------------------------------------------------------------------------------


def test_a_job_whose_worker_crashed_twice_ends_as_if_nothing_had_happened(launcher: Launcher, two: Job) -> None:
    options = ["--nproc-per-node=2", "--max-restarts=2", DDP, "--crash-in-attempt=1"]
    assert trained(launcher.run(*options)) == after(2, two)


@pytest.mark.parametrize("url", ["env://", "tcp://localhost:{port}"])
def test_a_crash_is_survived_at_a_port_that_the_user_chose(launcher: Launcher, two: Job, url: str) -> None:
    def launch(port: int) -> tuple[Result, ...]:
        options = ["--nproc-per-node=2", "--max-restarts=1", "--master-addr=localhost", f"--master-port={port}"]
        return (launcher.run(*options, DDP, "--crash-in-attempt=0", f"--init-method={url.format(port=port)}"),)

    assert trained(*on_a_free_port(launch)) == after(1, two)


def test_a_crash_is_survived_by_workers_that_make_the_url_of_what_they_are_told(launcher: Launcher, two: Job) -> None:
    script = 'exec "$0" "$1" --crash-in-attempt=0 --init-method=tcp://$MASTER_ADDR:$MASTER_PORT'
    options = ["--nproc-per-node=2", "--max-restarts=1", "--no-python"]
    assert trained(launcher.run(*options, "/bin/sh", "-c", script, sys.executable, DDP)) == after(1, two)


def test_a_worker_that_somebody_kills_midway_is_started_again_with_the_others(
    launcher: Launcher, tmp_path: Path, two: Job
) -> None:
    told = tmp_path / "pid"
    running = launcher.start("--nproc-per-node=2", "--max-restarts=1", DDP, f"--hang={told}")
    until(lambda: told.exists() or running.process.poll() is not None, "a worker to hang midway")
    pid = int(told.read_text())
    os.kill(pid, signal.SIGKILL)
    result = running.wait()
    assert trained(result) == after(1, two)
    assert f"launcher: rank 1 (local rank 1, pid {pid})" in result.err


# --- several nodes ---------------------------------------------------------------------------------------


def of_both(nodes: list[Running]) -> tuple[Result, ...]:
    return tuple(node.wait() for node in nodes)


def test_two_nodes_of_two_workers_train_as_one_of_four(launcher: Launcher, four: Job) -> None:
    def launch(port: int) -> tuple[Result, ...]:
        place = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=two-nodes"]
        return of_both([launcher.start("--nnodes=2", "--nproc-per-node=2", *place, DDP) for _ in range(2)])

    assert trained(*on_a_free_port(launch)) == four


def test_a_crash_on_one_node_restarts_the_workers_of_both(launcher: Launcher, four: Job) -> None:
    def launch(port: int) -> tuple[Result, ...]:
        options = ["--nnodes=2", "--nproc-per-node=2", "--max-restarts=1", f"--master-port={port}"]
        words = [DDP, "--crash-in-attempt=0"]
        return of_both([launcher.start(*options, f"--node-rank={rank}", *words) for rank in range(2)])

    assert trained(*on_a_free_port(launch)) == after(1, four)
