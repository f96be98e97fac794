"""A register of another distribution, which has nothing but two methods: whole jobs of several agents over it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from launches import Launcher, until

STORE = Path(__file__).parent / "plugin" / "tests" / "object_store.py"
MEET = """
import time
from launcher_plugins.c10d_store.client import StoreClient
rank, world, attempt = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"))
store = StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
store.barrier("here", world)
print(f"{rank} of {world}, attempt {attempt}", flush=True)
"""


@pytest.fixture
def objects() -> Iterator[Any]:
    """The store of objects that the distribution's own tests use."""
    spec = spec_from_file_location("object_store", STORE)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving() as server:
        yield server


@pytest.fixture
def words(objects: Any) -> list[str]:
    """How the agents are told where to meet."""
    conf = "--rdzv-conf=poll_interval=0.02,last_call_timeout=0.1,keep_alive_interval=0.5"
    return ["--rdzv-backend=outside-object", f"--rdzv-endpoint={objects.endpoint}", "--local-addr=127.0.0.1", conf]


def test_two_agents_meet_and_restart_together_when_a_worker_fails(
    launcher: Launcher, script: Callable[[str], Path], words: list[str]
) -> None:
    worker = script(f"{MEET}if (rank, attempt) == (3, 0): sys.exit(5)\nstore.barrier('done', world)")
    job = ("--nnodes=2", "--nproc-per-node=2", "--max-restarts=1", "--rdzv-id=fails")

    agents = [launcher.start(*words, *job, worker) for _ in range(2)]
    done = [agent.wait() for agent in agents]

    assert [one.code for one in done] == [0, 0], done
    printed = sorted(line for one in done for line in one.out.splitlines())
    assert [line for line in printed if line.endswith("1")] == [f"{rank} of 4, attempt 1" for rank in range(4)]
    assert all("exited with code 5" in one.err and "restart 1 of 1" in one.err for one in done)


def test_the_other_agent_goes_on_when_one_is_killed_and_leaves_nothing_of_itself(
    launcher: Launcher, script: Callable[[str], Path], words: list[str], objects: Any
) -> None:
    worker = script(f"{MEET}if world == 2: time.sleep(60)")
    job = ("--nnodes=1:2", "--rdzv-id=killed", "--rdzv-conf=last_call_timeout=20,keep_alive_interval=0.5")

    agents = [launcher.start(*words[:3], *job, worker) for _ in range(2)]
    until(lambda: all("of 2" in agent.out for agent in agents), "both workers")
    agents[1].signal(signal.SIGKILL)
    ends = [agent.wait() for agent in agents]

    assert [end.code for end in ends] == [0, -signal.SIGKILL], ends
    assert ends[0].out.endswith("0 of 1, attempt 0\n")
    assert "no sign of life for 1.5 s; regrouping, which costs no restart" in ends[0].err
    state = json.loads(objects.objects["/jobs/killed"][1])
    assert (state["beats"], state["heard"], state["round"]["seated"]) == ({}, {}, [])


def test_an_endpoint_that_makes_no_sense_is_told_before_anything_starts(
    launcher: Launcher, script: Callable[[str], Path], words: list[str]
) -> None:
    done = launcher.run("--rdzv-backend=outside-object", "--rdzv-endpoint=here", script("print('started')"))

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "launcher: error: --rdzv-backend=outside-object: --rdzv-endpoint='here': write http://HOST:PORT/BUCKET\n"
    )
