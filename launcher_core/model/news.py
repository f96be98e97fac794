"""What a meeting tells the agent. Each is one fact, complete in itself, and names the round it is about."""

from collections.abc import Mapping
from typing import Any

from launcher_core.model.job import Place
from launcher_core.model.value import Value


class Formed(Value):
    """A round has formed and this node is part of it."""

    place: Place


class Regroup(Value):
    """The round is over though the job is not: stop the workers and join again."""

    round: int
    reason: str
    restart: bool = False
    """Whether this cost the job a restart (a worker failed), or is a change of members, which is free."""
    restarts: int = 0
    """Restarts that have been spent, this one included, and how many there are in all."""
    max_restarts: int = 0


class Cut(Value):
    """This node is cut off and counts as lost: its workers must end at once. It joins again when that is possible."""

    reason: str


class Over(Value):
    """The job has ended for this node."""

    succeeded: bool
    reason: str
    requeue: bool = False
    """Whether it ended because a machine is wanted back: the same job is to be started again."""
    verdict: Mapping[str, Any] | None = None
    """What a node told of the failure that explains it (rules/testimony.py); the same on every node, once settled."""
    settled: bool = True
    """If not, the nodes are asked what they know, and another Over follows."""
    aftermath: tuple[tuple[str, str], ...] = ()
    """Names of nodes, and what became of their workers."""


class Waiting(Value):
    """Nothing has changed for a while: who is here, who is not, and what happens next."""

    have: int
    """0 when it cannot be known: where the nodes meet cannot be reached."""
    low: int
    high: int
    detail: str
    seconds_left: float | None = None
    then: str = ""
    """What happens when they are over."""


class Notice(Value):
    """Something that people should know, and that changes nothing."""

    text: str


class Trouble(Value):
    """The meeting itself cannot go on: `error` is to be raised by the launch."""

    error: Exception


News = Formed | Regroup | Cut | Over | Waiting | Notice | Trouble
