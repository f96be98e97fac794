"""What can happen to an agent, and what it can do about it: the words between the rules and the hands."""

from enum import Enum
from typing import Any

from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.model.value import Value


class Alarm(Enum):
    """The agent's alarms, each armed at most once at a time."""

    GRACE = "grace"
    """Workers that were asked to stop have had their time."""
    REAP = "reap"
    """Workers that were sent SIGKILL should be gone."""
    BARRIER = "barrier"
    """The other nodes have had their time to finish."""
    VERDICT = "verdict"
    """The others have had their time to settle why the job has failed."""


# --- events: News of the meeting, and these -------------------------------------------------------------


class Exited(Value):
    """A worker has ended."""

    exit: WorkerExit


class StartFailed(Value):
    """The group could not be started; whatever had started is gone."""

    error: Exception


class Hung(Value):
    """A watch says that the group of a round makes no progress or is not healthy."""

    reason: str
    round: int


class Signalled(Value):
    """The launcher got a signal."""

    signum: int


class Forwarded(Value):
    """The launcher got a signal that is for the workers, and changes nothing about the job."""

    signum: int
    workers: int = 0
    """How many workers it is passed on to; filled in by the rules."""


class Rang(Value):
    """An alarm's time has come."""

    alarm: Alarm


EVENTS = (Formed, Regroup, Cut, Over, Waiting, Notice, Trouble, Exited, StartFailed, Hung, Signalled, Forwarded, Rang)
AgentEvent = (
    Formed | Regroup | Cut | Over | Waiting | Notice | Trouble | Exited | StartFailed | Hung
    | Signalled | Forwarded | Rang
)  # fmt: skip


# --- effects --------------------------------------------------------------------------------------------


class Join(Value):
    """Ask the meeting for a place in the next round."""


class Start(Value):
    """Start the whole group."""

    place: Place


class Kill(Value):
    """Send a signal to the process groups of these workers."""

    signum: int
    local_ranks: tuple[int, ...]


class Pass(Value):
    """Send a signal to these workers alone, not to what they started."""

    signum: int
    local_ranks: tuple[int, ...]


class Sweep(Value):
    """All workers have ended: kill what they left in their process groups, reap, show their last output."""


class Arm(Value):
    """Set an alarm, in seconds from now."""

    alarm: Alarm
    seconds: float


class Disarm(Value):
    """Take all alarms back."""


class TellFailed(Value):
    """Tell the meeting that this node's workers failed."""

    round: int
    reason: str


class TellKnown(Value):
    """Have the other nodes know what this one knows of the failure of a round."""

    round: int
    local_rank: int | None = None
    """The worker that failed; None for all of them, once they have ended."""


class TellFinished(Value):
    """Tell the meeting that this node's workers succeeded."""

    round: int


class Leave(Value):
    """Tell the meeting that this node goes away."""

    reason: str


class Say(Value):
    """Show people what is going on; `about` is the event that caused it."""

    about: Any


Effect = Join | Start | Kill | Pass | Sweep | Arm | Disarm | TellFailed | TellKnown | TellFinished | Leave | Say
