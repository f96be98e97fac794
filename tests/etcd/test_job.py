"""Whole jobs that meet in etcd, as a user starts them."""

from __future__ import annotations

from pathlib import Path

from etcd import PASSWORDS, Cluster
from launches import Launcher

NOTE = Path(__file__).parent / "bin" / "note.py"


def test_two_nodes_meet(launcher: Launcher, etcd: Cluster, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    words = [
        "--nnodes=2", "--nproc-per-node=2", "--rdzv-backend=etcd", f"--rdzv-endpoint={etcd.endpoint}", "--rdzv-id=met",
        "--rdzv-conf=last_call_timeout=1", "--local-addr=127.0.0.1",
    ]  # fmt: skip
    agents = [launcher.start(*words, NOTE, notes) for _ in range(2)]

    ends = [agent.wait() for agent in agents]

    assert [end.code for end in ends] == [0, 0], ends
    assert {file.name for file in notes.iterdir()} == {"0of4", "1of4", "2of4", "3of4"}
    assert etcd.keys() == []


def test_an_etcd_that_comes_up_later_is_waited_for(launcher: Launcher, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "etcd")
    words = ["--rdzv-backend=etcd", f"--rdzv-endpoint={cluster.endpoint}", "--rdzv-id=early"]
    agent = launcher.start(*words, NOTE, tmp_path)
    with cluster:
        end = agent.wait()

    assert (end.code, (tmp_path / "0of1").exists()) == (0, True), end


def test_nobody_sees_the_password(launcher: Launcher, tmp_path: Path) -> None:
    secret = PASSWORDS["launcher"]
    with Cluster(tmp_path / "etcd") as cluster:
        cluster.ask_for_users()
        words = ["--rdzv-backend=etcd", f"--rdzv-endpoint={cluster.endpoint}", "--rdzv-id=secret"]
        env = {"PET_RDZV_USER": "launcher", "PET_RDZV_PASSWORD": secret}

        plan = launcher.run("--dry-run", *words, NOTE, tmp_path, env=env)
        end = launcher.run(*words, NOTE, tmp_path, env=env)

    assert (plan.code, end.code) == (0, 0), (plan, end)
    shown = plan.out + plan.err + end.out + end.err + (tmp_path / "0of1").read_text()
    assert secret not in shown
    assert "PET_RDZV_PASSWORD" not in shown
