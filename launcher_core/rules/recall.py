"""What a coordinator that has just begun learns from the nodes of the job that it takes over.

The agent of the host was started again, on this node or, with the endpoint's name, on another: nobody but the nodes
knows of the rounds so far. Each says which place it had last, so that rounds go on from there, the restarts that
were spent stay spent, and survivors keep their ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.model.value import Value
from launcher_core.rules.crowd import Ids

if TYPE_CHECKING:
    from launcher_core.rules.round import Limits, Round


class Past(Value):
    """What a node knows of the last round in which it had a place."""

    round: int
    restarts: int
    """Spent by then."""
    group_rank: int
    group_world_size: int


class Recalled(Value):
    """What is known of the newest round that any node remembers, and that is newer than all of this coordinator's."""

    round: int
    size: int
    """How many nodes took part in it. When as many are here, nobody else is waited for."""
    ranks: tuple[tuple[str, int], ...] = ()
    """Ids of nodes, and their group ranks then."""
    ids: Ids = Ids()
    """The ids alone."""


def recall(round: Round, id: str, past: Past, now: float, limits: Limits) -> Round:
    """The round, with what a node remembers that asks for a place."""
    round = round._replace(restarts=max(past.restarts, round.restarts))
    known = round.recalled
    newest = round.number if known is None else known.round
    if past.round < newest or (known is None and past.round == newest):
        return round
    if known is None and limits.fence:  # nodes that have not come yet may run on until their lease is over
        round = round._replace(fenced_until=now + limits.lease + limits.fence)
    if known is None or past.round > newest:
        known = Recalled(past.round, past.group_world_size)
    if id not in known.ids:
        known = known._replace(ranks=(*known.ranks, (id, past.group_rank)), ids=known.ids.plus(id))
    return round._replace(recalled=known)
