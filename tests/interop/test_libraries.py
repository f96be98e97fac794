"""Real libraries over torch's workers, and one without torch, none of which knows the launcher.

Each test is skipped, with the words that install it, where its library is missing. JAX lives in an environment of its
own, without torch: LAUNCHER_TEST_JAX names its interpreter.
"""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from launches import Launcher, Result

BIN = Path(__file__).parent / "bin"
PINS = {
    "torch": "torch==2.13.0",
    "accelerate": "accelerate==1.15.0",
    "lightning": "lightning==2.6.6",
    "torchmetrics": "torchmetrics==1.9.0",
    "transformers": "transformers==5.23.0 accelerate==1.15.0",
}
SAID = re.compile(r"rank (\d) of 2 said (.*)")


def needs(library: str) -> pytest.MarkDecorator:
    """Skips the test where the library is missing."""
    missing = find_spec("torch") is None or find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"needs {library}: pip install torch==2.13.0 {PINS[library]}")


def said(result: Result) -> list[str]:
    """What the two ranks said, in order."""
    assert result.code == 0, result.err
    return [what for _, what in sorted(SAID.findall(result.out))]


def fallen(result: Result) -> str:
    """The digest of the weights, which both ranks must have said, together with a loss that fell by a third."""
    first, second = said(result)
    assert first == second
    before, after, weights = first.split()
    assert float(after) < float(before) / 1.5
    return weights


@needs("torch")
def test_fsdp_goes_on_from_its_last_checkpoint_when_it_is_started_again(launcher: Launcher, tmp_path: Path) -> None:
    ends = []
    for name, words in (("whole", []), ("broken", ["--crash-after=3"])):
        (tmp_path / name).mkdir()
        script = [BIN / "fsdp_checkpoints.py", tmp_path / name, *words]
        result = launcher.run("--nproc-per-node=2", "--max-restarts=1", *script)
        assert result.code == 0, result.err
        ends.append(re.findall(r"rank (\d) attempt (\d) from (\d) to (\d) weights (\w+)", result.out))
    (digest,) = {weights for *_, weights in ends[0]}
    assert sorted(ends[0]) == [(rank, "0", "0", "6", digest) for rank in "01"]
    assert sorted(ends[1]) == [(rank, "1", "4", "6", digest) for rank in "01"]


@needs("accelerate")
@pytest.mark.parametrize(
    "script, shows",
    [
        ("test_script", "Training yielded the same results on one CPU or distributed setup with batch split."),
        ("test_sync", "**Test Distributed `no_sync` context manager**"),
    ],
)
def test_accelerates_own_scripts_pass_in_two_processes(launcher: Launcher, script: str, shows: str) -> None:
    module = f"accelerate.test_utils.scripts.{script}"
    result = launcher.run("--nproc-per-node=2", "-m", module, env={"ACCELERATE_USE_CPU": "true"}, timeout=110)
    assert result.code == 0, result.err
    assert shows in result.out


@needs("lightning")
def test_lightning_fabric_trains(launcher: Launcher) -> None:
    assert fallen(launcher.run("--nproc-per-node=2", BIN / "fabric_train.py"))


@needs("transformers")
def test_the_trainer_of_transformers_trains(launcher: Launcher, tmp_path: Path) -> None:
    assert fallen(launcher.run("--nproc-per-node=2", BIN / "trainer_train.py", tmp_path / "out", timeout=110))


@needs("torchmetrics")
def test_torchmetrics_counts_over_all_ranks(launcher: Launcher) -> None:
    assert said(launcher.run("--nproc-per-node=2", BIN / "metrics.py")) == ["0.800000"] * 2


@pytest.mark.skipif(
    "LAUNCHER_TEST_JAX" not in os.environ and find_spec("jax") is None,
    reason="needs JAX: pip install jax==0.10.2, here or where LAUNCHER_TEST_JAX=/path/to/python says",
)
def test_jax_meets_at_the_port_after_ours_without_torch(launcher: Launcher) -> None:
    python = os.environ.get("LAUNCHER_TEST_JAX", sys.executable)
    result = launcher.run("--nproc-per-node=2", "--no-python", python, BIN / "jax_sum.py")
    assert said(result) == ["3.000000"] * 2
