"""A job that meets in etcd and fails on one of its nodes is reported alike by all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from etcd import Cluster
from launches import Launcher
from verdicts import Verdicts, shared, verdict


@pytest.mark.parametrize("ends", [["wait", "raise=bad shard", "wait"], ["reset", "slowly=bad shard", "wait"]])
def test_every_node_tells_the_same_and_no_lost_connection(
    launcher: Launcher, etcd: Cluster, tmp_path: Path, ends: list[str]
) -> None:
    meet = ["--rdzv-backend=etcd", f"--rdzv-endpoint={etcd.endpoint}", f"--rdzv-id={tmp_path.name}"]
    job = Verdicts(launcher, tmp_path, *meet, "--local-addr=127.0.0.1")
    results, reports = job.end(ends, nodes=3, late=(600.0, -600.0, 0.0))
    assert [one.code for one in results] == [1, 1, 1]
    assert shared(reports[0]) == shared(reports[1]) == shared(reports[2])
    assert verdict(reports[0])[:2] == ("exception", 1)
    assert all(f"FAILED: rank 1 on {reports[0]['cause']['node']} raised ValueError\n" in one.err for one in results)
    assert etcd.keys() == []
