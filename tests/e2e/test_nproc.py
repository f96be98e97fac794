"""How many workers a launch starts where the number is not spelled out."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess
from launches import Launcher

TOUCH_SH = Path(__file__).parent / "bin" / "touch_rank.sh"
NO_GPUS = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ZE_AFFINITY_MASK": "99"}


def allowed_cpus() -> int:
    """The CPUs that this process may keep busy: its affinity, and the quota that a container's mount shows."""
    allowed = len(os.sched_getaffinity(0))
    quota = Path("/sys/fs/cgroup/cpu.max")
    words = quota.read_text().split() if quota.exists() else ["max"]
    return allowed if words[0] == "max" else max(1, min(allowed, int(words[0]) // int(words[1])))


def launched(launcher: Launcher, tmp_path: Path, nproc: str, env: dict[str, str], **popen: Any) -> set[str]:
    """The names of the files that the workers left, one each."""
    folder = tmp_path / "touched"
    folder.mkdir()
    words = ["--nnodes=1", f"--nproc-per-node={nproc}", "--no-python", TOUCH_SH, folder]
    result = launcher.start(*words, env=env, **popen).wait()
    assert result.code == 0, result.err
    return {path.name for path in folder.iterdir()}


def ranks(count: int) -> set[str]:
    return {str(rank) for rank in range(count)}


def test_a_number_of_workers_is_that_many(launcher: Launcher, tmp_path: Path) -> None:
    assert launched(launcher, tmp_path, "4", {}) == ranks(4)


@pytest.mark.parametrize("word", ["auto", "cpu"])
def test_without_accelerators_there_is_one_worker_for_each_cpu_that_may_be_used(
    launcher: Launcher, tmp_path: Path, word: str
) -> None:
    assert launched(launcher, tmp_path, word, NO_GPUS) == ranks(allowed_cpus())


@pytest.mark.parametrize("word", ["auto", "cpu"])
def test_cpus_that_the_process_is_kept_from_do_not_count(launcher: Launcher, tmp_path: Path, word: str) -> None:
    one = {min(os.sched_getaffinity(0))}
    started = launched(launcher, tmp_path, word, NO_GPUS, preexec_fn=lambda: os.sched_setaffinity(0, one))
    assert started == ranks(1)


def test_cpus_that_the_calling_process_is_kept_from_do_not_count(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NO_GPUS.items():
        monkeypatch.setenv(name, value)
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        in_process.main("--nproc-per-node=auto", "--no-python", TOUCH_SH, tmp_path)
    finally:
        os.sched_setaffinity(0, before)
    assert {path.name for path in tmp_path.iterdir() if path.name.isdigit()} == ranks(1)


# --- accelerators: the kernel's tree of devices, in a mount namespace of the launch's own -------------------

TREE = """
mount -t tmpfs none /sys/class || exit 99
nodes=/sys/class/kfd/kfd/topology/nodes
for node in 0 1 2 3; do
    mkdir -p $nodes/$node
    echo "simd_count $([ $node = 0 ] && echo 0 || echo 256)" > $nodes/$node/properties
done
exec "$@"
"""


@pytest.fixture
def with_three_gpus() -> list[str]:
    """What to put before a command to run it on a machine with a CPU and three accelerators."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, and unshare of util-linux, to show the launch other devices")
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("this machine has accelerators of its own")
    words = ["unshare", "--mount", "sh", "-c", TREE, "sh"]
    if subprocess.run([*words, "true"], stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("needs the right to mount a file system (CAP_SYS_ADMIN)")
    return words


@pytest.mark.parametrize(
    ("word", "env", "expected"),
    [
        ("gpu", {}, 3),
        ("auto", {}, 3),
        ("gpu", {"HIP_VISIBLE_DEVICES": "0,2"}, 2),
        ("auto", {"CUDA_VISIBLE_DEVICES": "1"}, 1),
        ("auto", {"ROCR_VISIBLE_DEVICES": "0,1"}, 2),
        ("auto", NO_GPUS, allowed_cpus()),
    ],
)
def test_there_is_one_worker_for_each_accelerator_that_programs_see(
    launcher: Launcher, tmp_path: Path, with_three_gpus: list[str], word: str, env: dict[str, str], expected: int
) -> None:
    launcher.wrapper = with_three_gpus
    assert launched(launcher, tmp_path, word, env) == ranks(expected)


def test_gpu_is_refused_where_all_are_hidden(launcher: Launcher, tmp_path: Path, with_three_gpus: list[str]) -> None:
    launcher.wrapper = with_three_gpus
    result = launcher.run("--nproc-per-node=gpu", "--no-python", TOUCH_SH, tmp_path, env={"HIP_VISIBLE_DEVICES": ""})
    assert result == (
        2,
        "",
        "launcher: error: --nproc-per-node=gpu: 3 here, all hidden by HIP_VISIBLE_DEVICES=''; change or unset it\n",
    )
