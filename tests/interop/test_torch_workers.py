"""What torch's workers use beside training: groups, objects, barriers, the store, record, and launches in launches."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers: pip install torch")
BIN = Path(__file__).parent / "bin"
COLLECTIVES, RECORDED = BIN / "collectives.py", BIN / "recorded.py"
RAISES = "raise NoGradient(args.fail)"
LINE = 1 + [line.strip() for line in RECORDED.read_text().splitlines()].index(RAISES)
SUMS = ["rank 0 sum 2", "rank 1 sum 2"]


def expected(rank: int) -> dict[str, Any]:
    """What the rank of collectives.py sees."""
    missed = "[Rank 0]: Ranks 2 failed to pass monitoredBarrier in 500 ms"
    return {
        "rank": rank,
        "launched": True,
        "groups": [2, 2, *([2, int(rank == 3)] if rank in (1, 3) else [0, 0]), 2, 2],
        "objects": [[{"rank": one} for one in range(4)], [["from", 0]], (rank - 1) % 4],
        "barriers": {0: missed, 2: "nothing"}.get(rank, "somebody was late"),
        "store": {
            "get": str((rank + 1) % 4),
            "sum": 10,
            "check": [True, False],
            "append": [None, None, "xyz"],
            "compare": ["new", "new"],
            "multi": [None, "0"],
            "queue": [None, 1, *b"one"],
            "big": [None, 4_000_000],
            "deleted": [True, False],
            "clone": "0",
            "wait in vain": "0",
        },
    }


def test_groups_objects_barriers_and_the_store_work_and_none_needs_to_be_destroyed(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=4", COLLECTIVES)
    assert result.code == 0, result.err
    seen = [json.loads(line) for line in result.out.splitlines()]
    assert sorted(seen, key=lambda each: int(each["rank"])) == [expected(rank) for rank in range(4)]


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_workers_inside_their_interpreters_form_a_group(launcher: Launcher, method: str) -> None:
    result = launcher.run("--run-path", f"--start-method={method}", "--nproc-per-node=2", RECORDED)
    assert (result.code, sorted(result.out.splitlines())) == (0, SUMS), result.err


def test_a_process_that_nobody_launched_is_told_so(tmp_path: Path) -> None:
    words = "from torch.distributed import is_torchelastic_launched as launched; print(launched())"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout == "False\n"


# --- torch's record, and torchrun as a worker and as the launcher of ours ----------------------------------


def failure(launcher: Launcher, *args: object) -> tuple[list[str], str]:
    """The sums that workers printed before the last one failed, and what the launch says of it."""
    result = launcher.run(*args, RECORDED, "--fail=no gradient at step 3", timeout=110)
    assert result.code == 1, result.err
    return sorted(line for line in result.out.splitlines() if line.startswith("rank")), result.err


def test_what_torchs_record_wrote_is_reported(launcher: Launcher) -> None:
    sums, said = failure(launcher, "--nproc-per-node=2")
    assert sums == SUMS
    assert f"{RECORDED} FAILED: rank 1 on" in said
    assert "cause    NoGradient: no gradient at step 3\n" in said
    assert f"where    {RECORDED}:{LINE} in main\n               {RAISES}\n" in said


def test_an_error_below_torchrun_below_us_is_reported(launcher: Launcher) -> None:
    sums, said = failure(launcher, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    assert sums == SUMS
    assert "cause    NoGradient: no gradient at step 3\n" in said
    assert f"where    {RECORDED}:{LINE} in main\n" in said


def test_an_error_below_us_below_torchrun_is_reported_by_torchrun(launcher: Launcher) -> None:
    outer = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    inner = ["-m", "launcher_core", "--nproc-per-node=2", str(RECORDED), "--fail=no gradient at step 3"]
    done = subprocess.run(
        [*outer, *inner], env=launcher.env, cwd=launcher.tmp, capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.returncode, sorted(done.stdout.splitlines())) == (1, SUMS), done.stderr
    torchruns = done.stderr.rpartition("Root Cause (first observed failure):")[2]
    assert f'File "{RECORDED}", line {LINE}, in main' in torchruns
    assert "NoGradient: no gradient at step 3" in torchruns
