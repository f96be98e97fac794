"""A job that fails on one of its nodes is reported alike by all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher
from verdicts import Verdicts, shared, verdict

Make = Callable[[str], Verdicts]


@pytest.fixture
def over(launcher: Launcher, tmp_path: Path, free_port: int) -> Make:
    """Makes a job of nodes that meet in one of three ways."""
    meet = {
        "c10d": ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}"],
        "static": [f"--master-port={free_port}"],
        "file": ["--rdzv-backend=file", f"--rdzv-endpoint={tmp_path}", "--local-addr=127.0.0.1"],
    }
    return lambda backend: Verdicts(launcher, tmp_path, *meet[backend])


every = pytest.mark.parametrize("backend", ["c10d", "static", "file"])


@every
def test_an_exception_is_told_by_every_node_as_by_its_own(over: Make, backend: str) -> None:
    results, reports = over(backend).end(["wait", "raise=bad shard", "wait"], nodes=3, ranked=backend == "static")
    assert [one.code for one in results] == [1, 1, 1]
    assert shared(reports[0]) == shared(reports[1]) == shared(reports[2])
    cause = reports[0]["cause"]
    assert (cause["class"], cause["rank"], cause["exception"]["message"]) == ("exception", 1, "bad shard")
    assert cause["stderr"][-1] == "ValueError: bad shard"
    for result in results:
        assert f"FAILED: rank 1 on {cause['node']} raised ValueError\n" in result.err
        assert "raise ValueError(what)\n    ValueError: bad shard" in result.err


@every
def test_a_lost_connection_that_is_told_of_first_is_not_the_cause(over: Make, backend: str) -> None:
    late = (600.0, -600.0)
    results, reports = over(backend).end(["reset", "slowly=bad shard"], late=late, ranked=backend == "static")
    assert [one.code for one in results] == [1, 1]
    assert shared(reports[0]) == shared(reports[1])
    assert verdict(reports[0])[:2] == ("exception", 1)
    if backend != "file":  # where each failure is kept back until the other node has shown that it lives
        assert "of a lost connection" in reports[0]["cause"]["reason"]


@every
def test_restarts_are_told_by_their_causes_alike_on_every_node(over: Make, backend: str) -> None:
    words = ["--max-restarts=2"]
    _, reports = over(backend).end(["wait", "exit=3"], *words, ranked=backend == "static")
    restarts = reports[0]["restarts"]
    assert restarts == reports[1]["restarts"]
    assert (restarts["spent"], restarts["allowed"]) == (2, 2)
    ((kind, count),) = [(one["kind"], one["count"]) for one in restarts["causes"]]
    assert (kind, count) == ("failure", 2)
    assert restarts["causes"][0]["reason"].startswith("rank 1 exited with code 3 on node-")
