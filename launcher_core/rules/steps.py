"""What can happen to an agent, and what it can do about it: the words between the rules and the hands."""

from enum import Enum
from typing import Any

from launcher_core.model.job import Place, WorkerExit
from launcher_core.model.news import Cut, Formed, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.model.value import Value


class State(Enum):
    """Where the agent is in the life of its worker group."""

    JOINING = "joining"
    RUNNING = "running"
    STOPPING = "stopping"
    AWAITING = "awaiting"
    FINISHING = "finishing"
    DONE = "done"


class Alarm(Enum):
    """The agent's alarms, each armed at most once at a time."""

    LOOK = "look"
    """Workers that are to be stopped have been looked at for as long as that may take."""
    WARN = "warn"
    """What is run before the workers are stopped for a preemption has had its time."""
    GRACE = "grace"
    """Workers that were asked to stop have had their time."""
    REAP = "reap"
    """Workers that were sent SIGKILL should be gone."""
    BARRIER = "barrier"
    """The other nodes have had their time to finish."""
    VERDICT = "verdict"
    """The others have had their time to settle why the job has failed."""
    BACKOFF = "backoff"
    """The pause before a restart is over."""


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
    local_ranks: tuple[int, ...] = ()
    """Who hangs, where that is known."""
    final: bool = False
    """Whether the job is to end of it, restarts or not."""


class Stalled(Value):
    """A watch says how the group of a round is doing, and leaves it at that."""

    reason: str
    round: int
    local_ranks: tuple[int, ...] = ()
    details: tuple[str, ...] = ()
    """More lines about it."""
    over: bool = False
    """Whether this takes back what was said before: it goes on."""


class Signalled(Value):
    """The launcher got a signal."""

    signum: int


class Forwarded(Value):
    """The launcher got a signal that is for the workers, and changes nothing about the job."""

    signum: int
    workers: int = 0
    """How many workers it is passed on to; filled in by the rules."""


class Preempted(Value):
    """The machine is wanted back."""

    notice: str


class Warned(Value):
    """What was to be run for the preemption has been."""


class Wants(Value):
    """How many seconds more workers ask for, whose grace is over: (local rank, seconds), only of those that do."""

    round: int
    more: tuple[tuple[int, float], ...] = ()


class Remains(Value):
    """A worker that is still there after SIGKILL."""

    local_rank: int
    pid: int
    doing: str
    """As the kernel says it: "uninterruptible in nfs_wait_bit_killable, system call 0"."""
    going: bool
    """Whether the kernel is taking it down."""


class Examined(Value):
    """What is left of workers that were sent SIGKILL."""

    round: int
    remains: tuple[Remains, ...] = ()
    leaves: bool = False
    """Whether they are not waited for any longer; filled in by the rules."""


class Looked(Value):
    """What the workers of a round that is to be stopped were doing."""

    round: int
    lines: tuple[str, ...] = ()
    """In a few lines; workers that do the same are one."""
    path: str = ""
    """The file that has their stacks; empty when there is none."""


class Rang(Value):
    """An alarm's time has come."""

    alarm: Alarm


EVENTS = (
    Formed, Regroup, Cut, Over, Waiting, Notice, Trouble, Exited, StartFailed, Hung, Signalled, Forwarded, Preempted,
    Warned, Looked, Wants, Examined, Rang, Stalled,
)  # fmt: skip
AgentEvent = (
    Formed | Regroup | Cut | Over | Waiting | Notice | Trouble | Exited | StartFailed | Hung
    | Signalled | Forwarded | Preempted | Warned | Looked | Wants | Examined | Rang | Stalled
)  # fmt: skip


# --- effects --------------------------------------------------------------------------------------------


class Join(Value):
    """Ask the meeting for a place in the next round."""

    restart: bool = False
    """Whether a failure is the reason: there may be a pause to make, until BACKOFF."""


class Start(Value):
    """Start the whole group."""

    place: Place


class Look(Value):
    """See what these workers are doing, and answer with Looked."""

    round: int
    local_ranks: tuple[int, ...]
    reason: str
    """Why they are to be stopped."""


class Warn(Value):
    """Run what the user wants to be run before a preempted job is stopped, and answer with Warned."""

    notice: str


class Requeue(Value):
    """Tell the meeting that the job is preempted, here and everywhere."""

    notice: str


class AskMore(Value):
    """See whether these workers ask for more time, and answer with Wants."""

    round: int
    local_ranks: tuple[int, ...]


class Examine(Value):
    """See why these workers are still there, and answer with Examined."""

    round: int
    local_ranks: tuple[int, ...]


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
    final: bool = False
    """Whether the job is over with that, restarts or not."""


HUNG, NOT_STARTED = -1, -2


class TellKnown(Value):
    """Have the other nodes know what this one knows of the failure of a round."""

    round: int
    local_rank: int | None = None
    """The worker that failed, HUNG or NOT_STARTED when none has; None for all of them, once they have ended."""


class TellFinished(Value):
    """Tell the meeting that this node's workers succeeded."""

    round: int


class Leaving(Value):
    """Tell the meeting that this node will go away when its workers are gone."""

    reason: str


class Leave(Value):
    """Tell the meeting that this node goes away."""

    reason: str


class Say(Value):
    """Show people what is going on; `about` is the event that caused it."""

    about: Any


Effect = (
    Join | Start | Look | Warn | Requeue | AskMore | Examine | Kill | Pass | Sweep | Arm | Disarm
    | TellFailed | TellKnown | TellFinished | Leaving | Leave | Say
)  # fmt: skip
