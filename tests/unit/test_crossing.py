"""What a launch takes, and what it raises, can be copied and sent to another process, as pools of processes do."""

from __future__ import annotations

import copy
import pickle
import signal
from typing import Any

import pytest

from launcher_core.errors import ChildFailedError, NodesError, SignalException, StuckError
from launcher_core.model.settings import LaunchConfig
from launcher_core.worker.failure import ProcessFailure

WAYS = [lambda thing: pickle.loads(pickle.dumps(thing)), copy.deepcopy]


def failed() -> ChildFailedError:
    error = ChildFailedError("train.py", {3: ProcessFailure(1, 42, 7, "", at=5.0)}, root=3, report="it failed")
    error.exit_code = 7
    return error


@pytest.mark.parametrize("cross", WAYS, ids=["pickle", "deepcopy"])
@pytest.mark.parametrize(
    "error", [failed(), SignalException("told to stop", signal.SIGTERM), StuckError((1, 2)), NodesError("no nodes")]
)
def test_an_error_arrives_as_it_was(error: Exception, cross: Any) -> None:
    there = cross(error)
    assert (type(there), str(there), vars(there)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("cross", WAYS, ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("config", [LaunchConfig(1, 2, 4), LaunchConfig(1, 1, 1, rdzv_configs={"timeout": 5})])
def test_a_config_arrives_as_it_was(config: LaunchConfig, cross: Any) -> None:
    assert cross(config) == config
