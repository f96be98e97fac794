"""The conformance kit on torch's own rendezvous: it finds the one defect that torchrun is known for."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from kits import Verdict, verdicts

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for its rendezvous: pip install torch")

SCALE_UP = "test_a_node_that_joins_a_running_job_gets_in_and_all_share_one_world_and_one_store"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """What the kit says of torch's handler and of its register."""
    return verdicts(Path(__file__).parent / "kit_torch.py", tmp_path_factory.mktemp("torch"), [])


def test_of_torchs_handler_only_the_job_that_grows_breaks_the_contract(found: dict[str, Verdict]) -> None:
    """A newcomer waits for the key MASTER_ADDR of its round, which nobody writes; then all agents die."""
    verdict = found["TestTorchsHandler"]
    assert list(verdict.failed) == [SCALE_UP]
    assert "next_rendezvous has to" in verdict.failed[SCALE_UP]
    assert len(verdict.passed) >= 17


def test_torchs_register_keeps_the_contract(found: dict[str, Verdict]) -> None:
    verdict = found["TestTorchsRegister"]
    assert verdict.failed == {}
    assert len(verdict.passed) >= 17
