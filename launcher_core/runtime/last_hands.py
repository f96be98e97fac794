"""What the agent has done before a group is gone, beside its loop: a look at the workers, a preemption's errands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher_core.rules import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher_core.hooks.ports import LogsSpecs
    from launcher_core.rules.supervise import Agent
    from launcher_core.runtime.group import Group
    from launcher_core.runtime.looking import Looking
    from launcher_core.runtime.preempting import Errands


class LastHands:
    """Belongs to the agent's main thread; nothing here blocks but `close`, for a moment."""

    def __init__(
        self, group: Group, logs: LogsSpecs, errands: tuple[Any, str, Mapping[str, str]], post: Callable[[Any], None]
    ) -> None:
        """`errands` are what Errands takes."""
        self._group = group
        self._logs = logs
        self._errands = errands
        self._post = post
        self._busy: list[Looking | Errands] = []

    def see_to(self, effect: steps.Look | steps.Warn | steps.AskMore | steps.Examine, agent: Agent) -> None:
        """Carry it out; the answer is posted."""
        if isinstance(effect, steps.Look):
            self._look(effect, agent)
        elif isinstance(effect, steps.Warn):
            from launcher_core.runtime.preempting import Errands

            errands = Errands(*self._errands)
            self._busy.append(errands)
            errands.begin(effect.notice, agent.patience.grace, self._post)
        elif isinstance(effect, steps.AskMore):
            from launcher_core.runtime.more_time import wanted

            self._post(steps.Wants(effect.round, wanted(self._pids(effect.local_ranks))))
        else:
            from launcher_core.runtime.remains import remains

            self._post(steps.Examined(effect.round, remains(self._pids(effect.local_ranks))))

    def _look(self, effect: steps.Look, agent: Agent) -> None:
        from launcher_core.runtime.looking import Looking, folder_of

        base = agent.place.base_rank if agent.place else 0
        pids = {base + local: pid for local, pid in self._pids(effect.local_ranks).items()}
        folder = folder_of(self._group.dest) if self._logs.root_log_dir else ""
        look = Looking(effect, pids, folder, agent.patience.look)
        self._busy.append(look)
        look.begin(self._post)

    def _pids(self, local_ranks: tuple[int, ...]) -> dict[int, int]:
        pids = self._group.pids
        return {local: pids[local] for local in local_ranks}

    def hurry(self) -> None:
        """The workers are asked to stop."""
        for one in self._busy:
            one.hurry()

    def close(self) -> None:
        """The workers are gone: end what still goes on."""
        while self._busy:
            self._busy.pop().close()
