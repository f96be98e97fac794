"""Asks policies for the nodes' ranks. Nothing that a policy answers or raises keeps a round from forming."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher_core.hooks.find import described, whose
from launcher_core.hooks.manager import Plugin
from launcher_core.model.job import Node
from launcher_core.rules.ranks import is_permutation

HOOK = "launcher_assign_ranks"


class RankPolicies:
    """Calling it gives the group ranks of the nodes in their order; None for the default order.

    Used by the thread that serves the rendezvous. `tell` is given a sentence for people.
    """

    def __init__(self, policies: Sequence[Plugin], tell: Callable[[str], None]) -> None:
        self._policies = policies
        self._tell = tell

    def __call__(self, nodes: Sequence[Node], facts: Mapping[str, Any]) -> Sequence[int] | None:
        for policy in self._policies:
            try:
                ranks = policy.ask(HOOK, participants=nodes, facts=facts)
                if ranks is None:
                    continue
                ranks = list(ranks)
                if is_permutation(ranks, len(nodes)):
                    return ranks
                fault = f"assigned the ranks {ranks}, which are not 0 to {len(nodes) - 1}, each once"
            except Exception as error:
                fault = f"failed to assign ranks: {described(error)}"
            self._tell(f"{whose(policy.found)} {fault}; its answer is not used")
        return None
