"""What the agent has done before a group is stopped, beside its loop: a look at the workers, a preemption's errands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from launcher_core.rules import steps

if TYPE_CHECKING:
    from launcher_core.rules.supervise import Agent
    from launcher_core.runtime.group import Group
    from launcher_core.runtime.looking import Looking
    from launcher_core.runtime.preempting import Errands


class LastHands:
    """Belongs to the agent's main thread; nothing here blocks but `close`, for a moment."""

    def __init__(self, group: Group, post: Callable[[Any], None]) -> None:
        self._group = group
        self._post = post
        self._busy: list[Looking | Errands] = []

    def look(self, effect: steps.Look, agent: Agent, *, keeps_files: bool) -> None:
        """See what the workers are doing."""
        from launcher_core.runtime.looking import Looking, folder_of

        base = agent.place.base_rank if agent.place else 0
        pids = {base + local: self._group.pids[local] for local in effect.local_ranks}
        look = Looking(effect, pids, folder_of(self._group.dest) if keeps_files else "", agent.patience.look)
        self._busy.append(look)
        look.begin(self._post)

    def warn(self, notice: str, what: tuple[Any, str, Mapping[str, str]], seconds: float) -> None:
        """Run what the user wants to be run before a preempted job is stopped: `what` is what Errands takes."""
        from launcher_core.runtime.preempting import Errands

        errands = Errands(*what)
        self._busy.append(errands)
        errands.begin(notice, seconds, self._post)

    def ask_more(self, effect: steps.AskMore) -> None:
        """See whether workers ask for more time."""
        from launcher_core.runtime.more_time import wanted

        pids = self._group.pids
        self._post(steps.Wants(effect.round, wanted({local: pids[local] for local in effect.local_ranks})))

    def examine(self, effect: steps.Examine) -> None:
        """See why workers are still there after SIGKILL."""
        from launcher_core.runtime.remains import remains

        pids = self._group.pids
        self._post(steps.Examined(effect.round, remains({local: pids[local] for local in effect.local_ranks})))

    def hurry(self) -> None:
        """The workers are asked to stop."""
        for one in self._busy:
            one.hurry()

    def close(self) -> None:
        """The workers are gone: end what still goes on."""
        while self._busy:
            self._busy.pop().close()
