"""torch's own rendezvous handlers, run by this launcher: a plugin of a few lines hands them over as they are."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from in_process import Distributions
from launches import Launcher

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for its handlers: pip install torch")

PLUGIN = """
from launcher_core import hookimpl

@hookimpl
def launcher_make_rendezvous(params):
    from torch.distributed.elastic.rendezvous import RendezvousParameters
    from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

    conf = {key: value for key, value in params.config.items() if key != "max_restarts"}
    nodes = (params.min_nodes, params.max_nodes)
    return get_rendezvous_handler(
        RendezvousParameters("c10d", params.endpoint, params.run_id, *nodes, params.local_addr, **conf)
    )
"""

WORKER = """
import os
import torch
import torch.distributed as dist

dist.init_process_group("gloo")
number = torch.ones(1) * dist.get_rank()
dist.all_reduce(number)
shared = os.environ["TORCHELASTIC_USE_AGENT_STORE"]
os.write(1, f"{dist.get_rank()} {dist.get_world_size()} {int(number)} {shared}\\n".encode())  # print's pieces mix
dist.destroy_process_group()
"""


@pytest.fixture
def words(launcher: Launcher, distributions: Distributions, free_port: int) -> tuple[str, ...]:
    """The flags of a node of two that meet by torch's c10d."""
    distributions.install("torch-plugin", "[launcher.rendezvous]\ntorch-c10d = torch_plugin\n", torch_plugin=PLUGIN)
    return (
        "--nnodes=2",
        "--rdzv-backend=torch-c10d",
        f"--rdzv-endpoint=127.0.0.1:{free_port}",
        "--rdzv-id=torch",
    )


def test_two_agents_meet_by_torchs_own_handler_and_its_store_serves_the_workers(
    launcher: Launcher, words: tuple[str, ...], tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(WORKER)
    conf = "--rdzv-conf=join_timeout=60,last_call_timeout=1"

    nodes = [launcher.start(*words, conf, f"--nproc-per-node={nproc}", worker) for nproc in (1, 2)]
    done = [node.wait() for node in nodes]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    lines = sorted(line for one in done for line in one.out.splitlines())
    assert lines == [f"{rank} 3 3 True" for rank in range(3)]


def test_torchs_own_errors_are_known_by_their_names(launcher: Launcher, words: tuple[str, ...], tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("print('started')")

    done = launcher.run(*words, "--rdzv-conf=join_timeout=1", worker)

    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("launcher: error: ")
    assert "RendezvousTimeoutError" in done.err
    assert "Traceback" not in done.err
