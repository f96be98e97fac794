"""etcd as the tests of its plugin use it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from etcd import Cluster

from launcher_core.model.settings import RendezvousParameters
from launcher_plugins.etcd.register import EtcdRegister
from launcher_plugins.etcd.settings import register_of

Open = Callable[..., EtcdRegister]
_JOBS = itertools.count()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One member, for a whole file; each test has a job of its own."""
    with Cluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members, for a whole file. A test that stops one starts it again."""
    with Cluster(tmp_path_factory.mktemp("three"), members=3) as cluster:
        yield cluster


@pytest.fixture
def open_register() -> Iterator[Open]:
    """Makes registers of one job, each as a node would; they are closed at the end."""
    job = f"job {next(_JOBS)}/x"
    opened: list[EtcdRegister] = []

    def open(endpoint: str, run_id: str = job, **conf: object) -> EtcdRegister:
        params = RendezvousParameters("etcd", endpoint, run_id, 1, 9, **{"lease_ttl": "2", **conf})
        opened.append(register_of(params))
        return opened[-1]

    yield open
    for register in opened:
        register.close()
