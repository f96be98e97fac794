"""Nodes and their ids by the thousand: frozen like tuples and sets, but one more or one less costs a few microseconds.

A round of 4,096 nodes is folded over 4,096 joins; to search or to copy all for each would take most of the time. So
ids are kept in a fixed number of small sets, and nodes in short tuples, of which one is replaced and the rest shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import chain
from typing import TYPE_CHECKING, overload

from launcher_core.model.job import Node

if TYPE_CHECKING:
    from launcher_core.rules.round import Limits, Round

LISTED = 8
"""The most nodes that a line names."""
_PARTS = 64
_NONE: tuple[frozenset[str], ...] = (frozenset(),) * _PARTS


class Ids(Set[str]):
    """A frozen set of ids, in no order; equal to any set of the same."""

    __slots__ = ("_parts", "_size")

    def __init__(self, ids: Iterable[str] = ()) -> None:
        parts: dict[int, set[str]] = {}
        for id in ids:
            parts.setdefault(hash(id) % _PARTS, set()).add(id)
        self._parts = _filled(parts) if parts else _NONE
        self._size = sum(map(len, parts.values()))

    def __contains__(self, id: object) -> bool:
        return id in self._parts[hash(id) % _PARTS]

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(self._parts)

    def __len__(self) -> int:
        return self._size

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"Ids({sorted(self)})"

    def plus(self, id: str) -> Ids:
        """With one more."""
        return self if id in self else self._with(hash(id) % _PARTS, self._parts[hash(id) % _PARTS] | {id}, 1)

    def minus(self, id: str) -> Ids:
        """Without that one."""
        return self._with(hash(id) % _PARTS, self._parts[hash(id) % _PARTS] - {id}, -1) if id in self else self

    def _with(self, at: int, part: frozenset[str], more: int) -> Ids:
        other = Ids.__new__(Ids)
        other._parts = (*self._parts[:at], part, *self._parts[at + 1 :])
        other._size = self._size + more
        return other


def _filled(parts: Mapping[int, set[str]]) -> tuple[frozenset[str], ...]:
    every = list(_NONE)
    for at, part in parts.items():
        every[at] = frozenset(part)
    return tuple(every)


class Nodes(Sequence[Node]):
    """Nodes in an order, each once, that knows their ids; equal to a tuple of the same."""

    __slots__ = ("_full", "_last", "ids")

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        every = tuple(nodes)
        cut = len(every) // _PARTS * _PARTS
        self._full = tuple(every[at : at + _PARTS] for at in range(0, cut, _PARTS))
        self._last = every[cut:]
        self.ids = Ids(node.id for node in every)

    def __iter__(self) -> Iterator[Node]:
        return chain(chain.from_iterable(self._full), self._last)

    def __len__(self) -> int:
        return len(self._full) * _PARTS + len(self._last)

    @overload
    def __getitem__(self, at: int) -> Node: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Node, ...]: ...
    def __getitem__(self, at: int | slice) -> Node | tuple[Node, ...]:
        return tuple(self)[at]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, Nodes | tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Nodes({list(self)})"

    def named(self, id: str) -> str:
        """The name of the node with this id, which has to be one of them."""
        return next(node.name for node in self if node.id == id)

    def plus(self, node: Node) -> Nodes:
        """With this one at the end, and nowhere else."""
        if node.id in self.ids:
            return self.minus(node.id).plus(node)
        more = Nodes.__new__(Nodes)
        more._full, more._last, more.ids = self._full, (*self._last, node), self.ids.plus(node.id)
        if len(more._last) == _PARTS:
            more._full, more._last = (*more._full, more._last), ()
        return more

    def minus(self, id: str) -> Nodes:
        """Without that one."""
        return Nodes(node for node in self if node.id != id) if id in self.ids else self


def listed(names: Sequence[str]) -> str:
    """The names, but not all of very many."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"


def missing(round: Round, limits: Limits) -> str:
    """What a gathering round waits for, in words."""
    if round.expected:
        names = [node.name for node in round.seated if node.id in round.expected]
        return f"waiting for {listed(names)} to come back"
    here = listed([node.name for node in round.here])
    if len(round.here) >= limits.low:
        return f"here: {here}; up to {limits.high - len(round.here)} more may join until the last call ends"
    if limits.fixed_ranks:
        free = set(range(limits.high)) - {node.node_rank for node in round.here}
        return f"here: {here}; node ranks that are missing: {listed([str(rank) for rank in sorted(free)])}"
    lost = [node.name for node in round.seated if node.id not in round.here.ids]
    came = f"; were here before: {listed(lost)}" if lost else ""
    return f"here: {here}; {limits.low - len(round.here)} more needed{came}"
