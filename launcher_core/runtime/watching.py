"""The watches of an agent's workers: begun with each start of the group, ended before the workers are.

The launcher's own watch is made by `late`, a while after the group has started, so that a launch that is over by
then has paid nothing for it. When it cannot be made, that is told, and all goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from launcher_core.model.news import Notice
from launcher_core.rules.steps import Hung, Stalled

if TYPE_CHECKING:
    from launcher_core.model.job import Place, Worker
    from launcher_core.model.logs import LogsDest
    from launcher_core.runtime.loop import Loop
    from launcher_core.runtime.tails import Output


class Late:
    """A watch that is made when it is wanted; `seconds` after the group has started."""

    def __init__(self, make: Callable[[], Sequence[Any]], seconds: float) -> None:
        self.make = make
        self.seconds = seconds


class StartedGroup:
    """What watches are told of one start of the group, and where they tell what they see: a Scene."""

    def __init__(
        self,
        place: Place,
        workers: Sequence[Worker],
        dest: LogsDest,
        output: Output,
        post: Callable[[Any], None],
    ) -> None:
        self.round = place.round
        self.ranks = {one.local_rank: one.rank for one in workers}
        self.world_size = place.world_size
        self.dest = dest
        self.heard = output.heard
        self.said = output.said
        self._post = post
        self.explained: dict[int, str] = {}
        """Local rank -> what is known of how it ended."""

    def alarm(self, reason: str) -> None:
        """Have the group treated as failed."""
        self._post(Hung(reason, self.round))

    def report(self, reason: str, local_ranks: Sequence[int] = (), details: Sequence[str] = ()) -> None:
        """Tell it, and change nothing."""
        self._post(Stalled(reason, self.round, tuple(local_ranks), tuple(details)))

    def resumed(self, reason: str) -> None:
        """Take it back."""
        self._post(Stalled(reason, self.round, over=True))

    def notice(self, text: str) -> None:
        """Tell people."""
        self._post(Notice(text))

    def explain(self, local_rank: int, text: str) -> None:
        """Keep it for the report."""
        self.explained[local_rank] = text

    def give_up(self, reason: str, local_ranks: Sequence[int] = (), *, restart: bool = True) -> None:
        """Have the group treated as failed, or the job ended."""
        self._post(Hung(reason, self.round, tuple(local_ranks), final=not restart))


class Watching:
    """Belongs to the agent's main thread. `refused` is told what the late watch could not be made of."""

    def __init__(self, loop: Loop, watches: Sequence[Any], late: Late | None, refused: Callable[[str], None]) -> None:
        self._loop = loop
        self._watches = tuple(watches)
        self._late = late
        self._refused = refused
        self._begun: list[Any] = []
        self._group: StartedGroup | None = None
        self._running = False
        self.seen: Stalled | None = None
        """What was said last of this group, and not taken back."""

    def start(self, group: StartedGroup, pids: Mapping[int, int]) -> None:
        """Have all watch this start. Raises what a watch raises."""
        self._group, self.seen, self._running = group, None, True
        for watch in self._watches:
            self._begin(watch, group, pids)
        if self._late is not None:
            self._loop.call(partial(self._join_late, self._late, group, pids), self._late.seconds)

    def explained(self, local_rank: int) -> str:
        """What a watch knows of how this worker ended."""
        return self._group.explained.get(local_rank, "") if self._group else ""

    def told(self, about: Stalled) -> None:
        """Remember what people are told."""
        self.seen = None if about.over else about

    def stop(self, let_go: Callable[[Callable[[], None]], None]) -> None:
        """End all; `let_go` calls what may raise."""
        self._running = False
        while self._begun:
            let_go(self._begun.pop(0).stop)

    def facts(self) -> dict[str, Any] | None:
        """What was said last, for who asks."""
        seen = self.seen
        return {"reason": seen.reason, "local_ranks": list(seen.local_ranks)} if seen else None

    def _begin(self, watch: Any, group: StartedGroup, pids: Mapping[int, int]) -> None:
        self._begun.append(watch)
        watch.attach(group)
        watch.start(pids, group.alarm)

    def _join_late(self, late: Late, group: StartedGroup, pids: Mapping[int, int]) -> None:
        if group is not self._group or not self._running:  # it has ended since
            return
        try:
            for watch in late.make():
                self._begin(watch, group, pids)
        except Exception as error:
            self._refused(f"hangs are not looked for: {error}")
            self._late = None
