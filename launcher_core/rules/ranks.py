"""Who is which rank: groups in an order, workers without gaps, ranks kept over a regroup where that is possible."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from launcher_core.model.job import Node, Place, Worker

Assign = Callable[[Sequence[Node], Mapping[str, Any]], Sequence[int] | None]
"""A policy: the nodes' group ranks in their order, or None."""


class Span(NamedTuple):
    """The ranks of one node's workers: the first of each kind, and how many there are in the job."""

    base_rank: int
    world_size: int
    base_role_rank: int
    role_world_size: int


def spans(nodes: Sequence[tuple[str, int]]) -> list[Span]:
    """One Span for each (role, local_world_size), given in group-rank order.

    Roles interleave: global ranks follow the group ranks whatever the roles are, as in torch elastic.
    """
    world_size = sum(size for _, size in nodes)
    role_sizes: dict[str, int] = {}
    for role, size in nodes:
        role_sizes[role] = role_sizes.get(role, 0) + size
    result, base, role_bases = [], 0, dict.fromkeys(role_sizes, 0)
    for role, size in nodes:
        result.append(Span(base, world_size, role_bases[role], role_sizes[role]))
        base += size
        role_bases[role] += size
    return result


def workers(place: Place, local_world_size: int) -> tuple[Worker, ...]:
    """This node's workers in local-rank order."""
    return tuple(
        Worker(local, place.base_rank + local, place.base_role_rank + local) for local in range(local_world_size)
    )


def seat(nodes: Sequence[Node], previous: Mapping[str, int]) -> list[Node]:
    """The nodes in group-rank order.

    First come wishes (`node_rank`), then the ranks of the round before, each only while it is below the number
    of nodes and still free; the others fill what is left in the order they are given.
    """
    seats: list[Node | None] = [None] * len(nodes)
    left: list[Node] = []
    for node in sorted(nodes, key=lambda node: node.node_rank is None):
        wish = previous.get(node.id) if node.node_rank is None else node.node_rank
        if wish is not None and 0 <= wish < len(seats) and seats[wish] is None:
            seats[wish] = node
        else:
            left.append(node)
    rest = iter(left)
    return [node if node is not None else next(rest) for node in seats]


def chosen(
    here: Iterable[Node],
    before: Sequence[Node],
    known: Mapping[str, int],
    high: int,
    number: int,
    assign: Assign | None,
) -> tuple[list[Node], list[Node]]:
    """(The nodes of round `number` by group rank, those for whom there is no place), given who took part before.

    `known`: group ranks of nodes that took part in it where `before` is not known.
    """
    old = {**{node.id: rank for rank, node in enumerate(before)}, **known}
    queue = sorted(here, key=lambda node: node.id not in old)
    taken, spare = queue[:high], queue[high:]
    return order(taken, old | inherited(taken, before, old), number, assign), spare


def inherited(taken: Sequence[Node], seated: Sequence[Node], old: Mapping[str, int]) -> dict[str, int]:
    """Ranks of nodes that are gone, for newcomers of the same name: an agent that was started again."""
    here = {node.id for node in taken}
    gone = {node.name: rank for rank, node in enumerate(seated) if node.id not in here}
    return {node.id: gone.pop(node.name) for node in taken if node.id not in old and node.name in gone}


def order(nodes: Sequence[Node], old: Mapping[str, int], number: int, assign: Assign | None) -> list[Node]:
    """The nodes of round `number` by group rank, as a policy has it, or by what they had before."""
    if assign is not None:
        chosen = assign(nodes, {"round": number, "previous": dict(old)})
        if chosen is not None and is_permutation(chosen, len(nodes)):
            return [node for _, node in sorted(zip(chosen, nodes, strict=True), key=lambda pair: pair[0])]
    return seat(nodes, old)


def is_permutation(ranks: Sequence[int], size: int) -> bool:
    """Whether `ranks` holds each of 0 to size-1 once."""
    return sorted(ranks) == list(range(size))


def ranks_text(ranks: Iterable[int]) -> str:
    """Ranks in order with runs joined, as in "ranks 0, 2-3"."""
    runs: list[list[int]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][1] + 1:
            runs[-1][1] = rank
        else:
            runs.append([rank, rank])
    text = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)
    single = len(runs) == 1 and runs[0][0] == runs[0][1]
    return f"rank {text}" if single else f"ranks {text}"
