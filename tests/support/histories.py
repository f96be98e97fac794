"""Membership as histories: a list of changes, folded."""

from __future__ import annotations

from launcher_core.model.job import Node
from launcher_core.rules.round import Join, Phase, Round, Tick, apply


def node(id: str, size: int = 1, **more) -> Node:
    return Node(id, f"host-{id}", size, **more)


def play(limits, *changes, assign=None):
    """Fold (time, change) pairs; the last Round and the outcomes of the last change."""
    state, told = Round(), []
    for now, change in changes:
        state, told = apply(state, change, now, limits, assign)
    return state, told


def running(limits, *nodes):
    state = Round()
    for one in nodes:
        state, _ = apply(state, Join(one), 0.0, limits)
    state, _ = apply(state, Tick(), 1000.0, limits)
    assert state.phase is Phase.RUNNING
    return state
