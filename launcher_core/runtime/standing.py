"""What an agent knows of its launch, as one answer for who asks: plain data that JSON knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher_core.model.job import Command, Node, Worker
from launcher_core.model.news import Cut, Regroup, Waiting
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules.past import causes
from launcher_core.rules.steps import State
from launcher_core.rules.supervise import Agent

if TYPE_CHECKING:
    from launcher_core.model.logs import LogsDest

SCHEMA = 1


class Glance(NamedTuple):
    """What a person would want to see at any time. Counts are None before they are known."""

    state: str
    round: int
    nodes: int | None
    low: int
    high: int
    world_size: int | None
    restarts: int
    max_restarts: int
    heard: float | None
    """When something was last read of a worker's stderr here, by the monotonic clock; None where none is read."""


def standing(
    config: LaunchConfig,
    command: Command,
    node: Node,
    agent: Agent,
    past: Sequence[Regroup | Cut],
    waiting: Waiting | None,
) -> dict[str, Any]:
    """Everything but the workers. `past` is what ended the rounds before, `waiting` what the meeting said last."""
    place = agent.place
    return {
        "schema": SCHEMA,
        "pid": node.pid,
        "host": node.name,
        "run_id": config.run_id,
        "role": config.role,
        "command": command.name,
        "state": _state(agent),
        "round": agent.round,
        "nodes": {
            "count": place.group_world_size if place else None,
            "rank": place.group_rank if place else None,
            "min": config.min_nodes,
            "max": config.max_nodes,
        },
        "world_size": place.world_size if place else None,
        "restarts": {
            "spent": max([place.restarts if place else 0, *(one.restarts for one in past if isinstance(one, Regroup))]),
            "max": config.max_restarts,
            "causes": causes(past),
        },
        "waiting": _waiting(waiting) if agent.state is State.JOINING else None,
    }


def glance(config: LaunchConfig, agent: Agent, heard: Iterable[float | None]) -> Glance:
    """What is worth a line of it all; `heard` is what Output says of each worker."""
    place = agent.place
    return Glance(
        _state(agent),
        agent.round,
        place.group_world_size if place else None,
        config.min_nodes,
        config.max_nodes,
        place.world_size if place else None,
        place.restarts if place else 0,
        config.max_restarts,
        max((at for at in heard if at is not None), default=None),
    )


def workers_of(
    agent: Agent,
    workers: Sequence[Worker],
    pids: Mapping[int, int],
    dest: LogsDest,
    heard: Mapping[int, float | None],
) -> list[dict[str, Any]]:
    """One object for each worker of the round that is, or was last."""
    ended = {exit.local_rank: exit for exit in agent.exits}
    return [
        {
            "local_rank": local,
            "rank": one.rank,
            "pid": pids.get(local) or (ended[local].pid if local in ended else None),
            "exit_code": ended[local].code if local in ended else None,
            "stdout": dest.stdouts.get(local, ""),
            "stderr": dest.stderrs.get(local, ""),
            "error_file": dest.error_files.get(local, ""),
            "heard": heard.get(local),
        }
        for one in workers
        for local in (one.local_rank,)
        if local in pids or local in ended
    ]


def _state(agent: Agent) -> str:
    """The agent's state; the first rendezvous and later ones are told apart."""
    if agent.state is State.JOINING:
        return "rendezvous" if agent.place is None else "restarting"
    return str(agent.state.value)


def _waiting(waiting: Waiting | None) -> dict[str, Any] | None:
    if waiting is None:
        return None
    return {"have": waiting.have, "min": waiting.low, "max": waiting.high, "detail": waiting.detail}
