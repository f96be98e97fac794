"""What an agent says of itself, and how launchers are found among the sockets of a machine."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.model.job import Command, Node, Place, Worker, WorkerExit
from launcher_core.model.logs import LogsDest
from launcher_core.model.news import Cut, Regroup, Waiting
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules.steps import State
from launcher_core.rules.supervise import Agent
from launcher_core.runtime.asking import Address, find_names
from launcher_core.runtime.standing import standing, workers_of

CONFIG = LaunchConfig(1, 4, 2, run_id="job", max_restarts=3)
PLACE = Place(2, 1, 3, 2, 6, 2, 6, "h", 1, restarts=1)
FAILED = Regroup(0, "rank 1 exited with code 3", restart=True, restarts=1, max_restarts=3)
JOINED = Regroup(1, "a node has joined", restarts=1, max_restarts=3)


def told(agent: Agent, *past: Regroup | Cut, waiting: Waiting | None = None) -> dict[str, Any]:
    return standing(CONFIG, Command(name="train.py"), Node("id", "host", 2, pid=7), agent, past, waiting)


@pytest.mark.parametrize(
    ("state", "place", "word"),
    [
        (State.JOINING, None, "rendezvous"),
        (State.JOINING, PLACE, "restarting"),
        (State.RUNNING, PLACE, "running"),
        (State.STOPPING, PLACE, "stopping"),
        (State.AWAITING, PLACE, "awaiting"),
        (State.FINISHING, PLACE, "finishing"),
    ],
)
def test_a_first_rendezvous_and_a_restart_are_told_apart(state: State, place: Place | None, word: str) -> None:
    assert told(Agent(2, state=state, place=place))["state"] == word


def test_all_that_is_known_before_the_first_round() -> None:
    waiting = Waiting(1, 1, 4, "more may come")
    assert told(Agent(2), waiting=waiting) == {
        "schema": 1, "pid": 7, "host": "host", "run_id": "job", "role": "default_role", "command": "train.py",
        "state": "rendezvous", "round": -1, "nodes": {"count": None, "rank": None, "min": 1, "max": 4},
        "world_size": None, "restarts": {"spent": 0, "max": 3, "causes": []},
        "waiting": {"have": 1, "min": 1, "max": 4, "detail": "more may come"},
    }  # fmt: skip


def test_restarts_are_counted_by_cause_the_latest_last() -> None:
    found = told(Agent(2, state=State.RUNNING, place=PLACE), FAILED, JOINED, Cut("no answer"), FAILED)
    assert found["restarts"] == {
        "spent": 1,
        "max": 3,
        "causes": [
            {"kind": "members", "reason": "a node has joined", "count": 1},
            {"kind": "cut off", "reason": "no answer", "count": 1},
            {"kind": "failure", "reason": "rank 1 exited with code 3", "count": 2},
        ],
    }


def test_a_restart_is_spent_before_the_next_round_has_formed() -> None:
    found = told(Agent(2, place=PLACE._replace(restarts=0)), FAILED)
    assert (found["state"], found["restarts"]["spent"]) == ("restarting", 1)


def test_what_is_waited_for_is_said_only_while_waiting() -> None:
    assert told(Agent(2, state=State.RUNNING, place=PLACE), waiting=Waiting(1, 1, 4, "x"))["waiting"] is None


def test_workers_that_run_and_that_have_ended() -> None:
    agent = Agent(2, state=State.STOPPING, place=PLACE, exits=(WorkerExit(1, 22, -9, 0.0),))
    workers = [Worker(0, 2, 2), Worker(1, 3, 3)]
    dest = LogsDest(stdouts={0: "/out"}, stderrs={}, error_files={1: "/error"})
    found = workers_of(agent, workers, {0: 21}, dest, {0: 5.0})
    assert found == [
        {"local_rank": 0, "rank": 2, "pid": 21, "exit_code": None, "stdout": "/out", "stderr": "",
         "error_file": "", "heard": 5.0},
        {"local_rank": 1, "rank": 3, "pid": 22, "exit_code": -9, "stdout": "", "stderr": "",
         "error_file": "/error", "heard": None},
    ]  # fmt: skip


def test_workers_that_could_not_be_started_are_none() -> None:
    assert workers_of(Agent(2), [Worker(0, 0, 0)], {}, LogsDest(), {}) == []


# --- finding ---------------------------------------------------------------------------------------------

LINE = "0000000056684961: 00000002 00000000 {flags} 0001 01 1467155 {name}\n"


def listed(*names: str, flags: str = "00010000") -> list[str]:
    return [LINE.format(flags=flags, name=name) for name in names]


def test_a_users_launchers_are_those_with_his_number() -> None:
    names = listed("@launcher-1000-41-ab", "@launcher-1001-42-cd", "@launcher-1000-43-ef")
    assert find_names(names, 1000) == [Address("launcher-1000-41-ab", 41), Address("launcher-1000-43-ef", 43)]
    assert [one.pid for one in find_names(names, 0)] == [41, 42, 43]


@pytest.mark.parametrize(
    "name",
    ["", "/run/launcher-1-2-a", "launcher-1-2-a", "@launcher", "@launcher-1-2", "@launcher-x-2-a", "@launcher-1-x-a",
     "@launcher-1-2-a-b", "@launcher- -2-a", "@launcherx-1-2-a"],
)  # fmt: skip
def test_other_sockets_are_left_alone(name: str) -> None:
    assert find_names(listed(name), 0) == []


def test_a_connection_is_no_launcher() -> None:
    assert find_names(listed("@launcher-0-41-ab", flags="00000000"), 0) == []
