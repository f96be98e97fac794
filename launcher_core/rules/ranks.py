"""Who is which rank: groups in an order, workers without gaps, ranks kept over a regroup where that is possible."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from launcher_core.model.job import Node, Place, Worker


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


def is_permutation(ranks: Sequence[int], size: int) -> bool:
    """Whether `ranks` holds each of 0 to size-1 once."""
    return sorted(ranks) == list(range(size))
