"""The timers of torch.distributed.elastic.timer, set by torch's own client."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from launches import Launcher

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers: pip install torch")
TIMERS = Path(__file__).parent / "bin" / "timers.py"
ON = {"TORCHELASTIC_ENABLE_FILE_TIMER": "1"}


def test_a_timer_of_torchs_client_that_runs_out_ends_its_worker_and_is_named(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=2", "--shutdown-timeout=1", TIMERS, "late", env=ON)
    assert result.code == 1
    assert "FAILED: rank 1 on " in result.err
    assert "note     the timer 'step' of rank 1 (pid " in result.err


def test_timers_that_are_left_in_time_do_nothing(launcher: Launcher) -> None:
    result = launcher.run("--nproc-per-node=2", TIMERS, env=ON)
    assert (result.code, "timer" in result.err) == (0, False)
