"""Jobs of torch workers that torchrun would lose: restarted after a crash, and grown by a node."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from launches import Launcher, until

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers: pip install torch")
ADD_UP = Path(__file__).parent / "bin" / "add_up.py"
QUIET = {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def seen(tmp_path: Path) -> Path:
    """Where workers leave their sums."""
    folder = tmp_path / "seen"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("backend", ["c10d", "static"])
def test_a_job_that_crashes_in_gloo_init_is_really_restarted(
    launcher: Launcher, seen: Path, free_port: int, backend: str
) -> None:
    place = [f"--rdzv-backend={backend}", f"--rdzv-endpoint=127.0.0.1:{free_port}"]
    result = launcher.run(*place, "--nproc-per-node=3", "--max-restarts=4", ADD_UP, seen, "crash", env=QUIET)
    assert result.code == 0, result.err
    assert names(seen) == {f"rank {rank} attempt 1 sum 3" for rank in range(3)}
    assert result.err.count("; restart ") == 1


def test_a_running_gloo_job_grows_when_a_second_node_comes(launcher: Launcher, seen: Path, free_port: int) -> None:
    place = ["--nnodes=1:2", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{free_port}", "--rdzv-id=job"]
    options = [*place, "--rdzv-conf=last_call_timeout=0.1", ADD_UP, seen, "grow"]
    first = launcher.start(*options)
    until(lambda: names(seen) == {"rank 0 attempt 0 sum 1"}, "the first node works alone")
    second = launcher.start(*options)
    assert (first.wait().code, second.wait().code) == (0, 0), (first.err, second.err)
    assert names(seen) == {
        "rank 0 attempt 0 sum 1",
        "rank 0 attempt 0 sum 2",
        "rank 1 attempt 0 sum 2",
    }
