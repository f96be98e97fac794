"""Jobs on three nodes, over a cluster of three members of etcd, each on a machine of its own, for a whole file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
import timings
from etcd_apart import HASTY, Apart
from jobs import Job
from launches import describe, marked, until
from nodes import Nodes, nodes

ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "2"))
USUAL = "LAUNCHER_ETCD_USUAL" in os.environ
"""Whether etcd is to elect leaders in its usual time, also where a test would have it hurry."""
_jobs = itertools.count()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test so many rounds."""
    metafunc.parametrize("round", range(ROUNDS))


@pytest.fixture
def chance(round: int) -> Random:
    """What is left to chance, the same for each round of a number."""
    return Random(round)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Apart]]:
    """Three nodes, and a cluster beside them; a file whose ELECTIONS are true is about members that come and go."""
    flags = HASTY if getattr(request.module, "ELECTIONS", False) and not USUAL else ()
    tmp = tmp_path_factory.mktemp("lab")
    with nodes(3, tmp, servers=3) as made, Apart(made.servers, tmp / "etcd", flags) as cluster:
        yield made, cluster


@pytest.fixture
def cluster(lab: tuple[Nodes, Apart]) -> Iterator[Apart]:
    """The members of etcd; whatever a test did to them is undone."""
    made, cluster = lab
    yield cluster
    made.heal()
    cluster.mend()


@pytest.fixture
def job(lab: tuple[Nodes, Apart], cluster: Apart, tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Make a job. No process that it started may outlive it, and no key in etcd that does not end by itself."""
    made, _ = lab
    jobs: list[Job] = []

    def make(sizes: str, lease: int = 3, *options: str) -> Job:
        name = f"job{next(_jobs)}"
        (folder := tmp_path / name).mkdir()
        jobs.append(Job(made, folder, "etcd", cluster.endpoint, sizes, *options, name=name))
        jobs[-1].lose_after(lease)
        return jobs[-1]

    try:
        yield make
        for node in made:
            ended = all(run.process.poll() is not None for run in node.launcher.running)
            if ended:
                until(lambda mark=node.launcher.mark: not marked(mark), describe(marked(node.launcher.mark)), 5.0)
    finally:
        for node in made:
            node.crash()
            for run in node.launcher.running:
                print(f"--- {node.name} said\n{run.err}")
            node.launcher.running.clear()
    made.heal()
    cluster.mend()
    for one in jobs:
        assert [pair for pair in cluster.pairs(one.name) if not pair.lease] == []


@pytest.fixture
def gone(cluster: Apart) -> Callable[[Job], None]:
    """Fail unless a job that has ended has left nothing in etcd."""

    def check(job: Job) -> None:
        assert cluster.pairs(job.name) == []

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show how long it took to get over faults."""
    timings.show(terminalreporter)
