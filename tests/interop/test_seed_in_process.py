"""Launches by `main` and `elastic_launch` from inside a process that uses torch itself."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess

from launcher_core.errors import ChildFailedError, UsageError
from launcher_core.launch import elastic_launch
from launcher_core.model.settings import LaunchConfig
from launcher_core.run import main
from launcher_core.runtime import devices

torch = pytest.importorskip("torch", reason="needs torch: pip install torch")
BIN = Path(__file__).parent / "bin"
ASKS, RECORDED = BIN / "asks.py", BIN / "recorded.py"


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of functions that workers run."""
    monkeypatch.syspath_prepend(BIN)
    import torch_functions

    return torch_functions


def test_a_worker_is_told_that_it_was_launched_and_its_launcher_is_not(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process.main("--run-path", "--nnodes=1", "--nproc-per-node=1", "--logs_specs=default", ASKS, tmp_path / "worker")
    monkeypatch.setattr(sys, "argv", [str(ASKS), str(tmp_path / "self")])
    runpy.run_path(str(ASKS), run_name="__main__")
    assert [(tmp_path / name).read_text() for name in ("worker", "self")] == ["True", "False"]


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_functions_form_a_group_and_return_tensors(in_process: InProcess, functions: Any, method: str) -> None:
    config = LaunchConfig(1, 1, 2, rdzv_endpoint="localhost:0", start_method=method, max_restarts=0)
    values = in_process.call(elastic_launch(config, functions.take_part))
    assert {rank: seen._replace(ranks=seen.ranks.tolist()) for rank, seen in values.items()} == {
        rank: functions.Seen([1, 1], True) for rank in range(2)
    }


def test_torch_uses_as_many_threads_as_the_launcher_says(
    in_process: InProcess, functions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config = LaunchConfig(1, 1, 1, rdzv_endpoint="localhost:0", start_method="spawn", max_restarts=0)
    assert in_process.call(elastic_launch(config, functions.threads)) == {0: 1}


def test_a_failure_is_raised_with_what_torchs_record_wrote_and_left_for_torch_to_read(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

    mine = tmp_path / "mine.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(mine))
    with pytest.raises(ChildFailedError) as caught:
        in_process.main("--nproc-per-node=2", RECORDED, "--fail=no gradient")
    rank, failure = caught.value.get_first_failure()
    told = ProcessFailure(local_rank=0, pid=os.getpid(), exitcode=1, error_file=str(mine))
    assert (rank, failure.exitcode, failure.message["message"]) == (1, 1, "NoGradient: no gradient")
    assert told.message["extraInfo"] == failure.message["extraInfo"]
    assert (told.message["message"], told.message["errorCode"]) == ("NoGradient: no gradient", 1)
    assert told.timestamp == failure.timestamp


def test_two_nodes_are_launched_here_and_in_a_fork_of_here(
    in_process: InProcess, tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "touched").mkdir()
    place = ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port}", "--rdzv-id=two", "--rdzv-conf=timeout=30"]
    words = ["--nnodes=2", "--nproc-per-node=2", *place, "--no-python", "/bin/sh", "-c", 'touch "$0/$RANK"']
    arguments = [*words, str(tmp_path / "touched")]
    other = multiprocessing.get_context("fork").Process(target=main, args=[arguments])
    other.start()
    try:
        in_process.main(*arguments)
        other.join(30)
        assert other.exitcode == 0
    finally:
        other.kill()
    assert {path.name for path in (tmp_path / "touched").iterdir()} == {"0", "1", "2", "3"}


def test_devices_are_counted_as_torch_counts_them() -> None:
    try:
        found = devices.count("gpu", os.environ)
    except UsageError:
        found = 0
    assert found == torch.cuda.device_count()
