"""What an agent is given, and what it brings home."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher_core.hooks.ports import LogsSpecs, Meeting, Starter
from launcher_core.model.job import Command, Node, Place, Worker
from launcher_core.model.logs import LogsDest
from launcher_core.model.news import Cut, Regroup
from launcher_core.model.value import Value
from launcher_core.rules.supervise import Agent
from launcher_core.runtime.watching import Late
from launcher_core.worker.failure import ProcessFailure

if TYPE_CHECKING:
    from launcher_core.rules.numa import Binding


class Parts(NamedTuple):
    """What plugins made for one launch."""

    meeting: Meeting
    starter: Starter
    logs: LogsSpecs
    watches: Sequence[Any] = ()
    """Watches, each with the method `attach`."""
    admit: Callable[[Node, int], str | None] = lambda node, round: None
    judge: Callable[[Mapping[str, Any], Mapping[str, int]], str | None] = lambda failure, budget: None
    extra_env: Callable[[Worker, Place], Mapping[str, str]] = lambda worker, place: {}
    preempted: Callable[[str, float], list[str]] = lambda notice, seconds: []
    bindings: tuple[Binding, ...] = ()
    """The CPUs of each local rank; empty when nobody asked for a binding. No plugin has a say in it."""
    late_watch: Late | None = None


class Ending(Value):
    """How a run ended: the rules' last state, and what is known of this node's workers by local rank."""

    agent: Agent
    values: Mapping[int, Any]
    failures: Mapping[int, ProcessFailure]
    dest: LogsDest
    """Where the last round's output went."""
    refusal: str = ""
    """Why the last failure was not worth another start, where it was for what it is."""
    past: Sequence[Regroup | Cut] = ()
    command: Command = Command()

    def again(self, local_rank: int) -> str:
        """A command that runs this worker once more; "" where there is none."""
        from launcher_core.rules.again import again

        place, size = self.agent.place, self.agent.local_world_size
        return "" if place is None else again(self.command.argv, place, local_rank, size)
