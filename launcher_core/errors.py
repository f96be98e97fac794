"""Everything this package raises on purpose.

    LauncherError
    |-- UsageError (also ValueError)         what was asked for cannot be done; nothing was started
    |   |-- NodesError (also RuntimeError)   --nnodes has more than two parts
    |   `-- PluginError                      a plugin was named that cannot be used
    |-- RendezvousError                      the nodes could not meet
    |   |-- RendezvousClosedError            the job is over; nobody can join it any more
    |   |-- RendezvousTimeoutError           not enough nodes came in time
    |   |-- RendezvousConnectionError        the place to meet cannot be reached
    |   |   |-- HostLostError                it could be, and cannot any more: exit code 75
    |   |   `-- EndpointError (UsageError)   the name of it does not exist: exit code 2
    |   |-- RendezvousStateError             what is stored at the place to meet makes no sense
    |   `-- RendezvousGracefulExitError      this node was a spare and is not needed; not a failure
    |-- PreemptedError                       the machine is wanted back: exit code 75
    |-- StartError                           a worker could not be started
    |-- StuckError                           workers survived SIGKILL: exit code 75
    |-- JobFailedError                       the job failed on another node
    `-- ChildFailedError                     workers failed, and no restart was left
    SignalException                          a signal stopped the launcher

Each error says what is wrong, with which value, and what to do about it: the command line prints
the text as it is, without a traceback.  Anything else that escapes is a defect of ours and keeps its
traceback.  The names and shapes of ChildFailedError, SignalException and the Rendezvous errors are
those of torch elastic.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker knows it by its name; importing typing would cost a worker milliseconds
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from typing import Any

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REQUEUE = 75
"""EX_TEMPFAIL of <sysexits.h>: the same job may well succeed when it is started again."""


class LauncherError(Exception):
    """The launch failed for a reason that the text explains; `exit_code` is what the shell sees."""

    exit_code = EXIT_FAILED


class UsageError(LauncherError, ValueError):
    """The request cannot be carried out as given; nothing has been started."""

    exit_code = EXIT_USAGE


class NodesError(UsageError, RuntimeError):
    """--nnodes is neither N nor MIN:MAX (a RuntimeError too: torch elastic raises one)."""


class PluginError(UsageError):
    """A plugin that was named is not installed, lacks a dependency, cannot be imported, or lacks the hook."""


class RendezvousError(LauncherError):
    """The nodes of the job could not meet."""


class RendezvousClosedError(RendezvousError):
    """The job is over: nobody can join it any more."""


class RendezvousTimeoutError(RendezvousError):
    """Not enough nodes came within the time allowed. `told` is what is known of one that was lost before."""

    told: Any = None


class RendezvousConnectionError(RendezvousError):
    """The place to meet cannot be reached, or stopped answering."""


class HostLostError(RendezvousConnectionError):
    """The node that hosts the rendezvous was there and is gone; this node's workers were stopped."""

    exit_code = EXIT_REQUEUE


class EndpointError(UsageError, RendezvousConnectionError):
    """The name of the place to meet does not exist, and has not come to exist within the time allowed."""


class RendezvousStateError(RendezvousError):
    """What is stored at the place to meet cannot be understood."""


class RendezvousGracefulExitError(RendezvousError):
    """This node was a spare, the job ended without it: not a failure."""

    exit_code = 0


class PreemptedError(LauncherError):
    """Somebody gave notice that the machine is wanted back: the workers were stopped, so that they could save."""

    exit_code = EXIT_REQUEUE

    def __init__(self, notice: str, *, elsewhere: bool = False) -> None:
        """`elsewhere`: whether another node was given notice, whose name then ends the text."""
        self.notice = notice
        self.node = notice.rpartition(" on ")[2] if elsewhere else ""
        super().__init__(f"preempted: {notice}; the workers were stopped, the job can be started again")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.notice,), {"node": self.node}


class StartError(LauncherError):
    """A worker could not be started; those of its group that had started are gone again."""


class StuckError(LauncherError):
    """Workers survived SIGKILL: a system call that cannot be interrupted. `local_ranks` says which, `doing` more."""

    exit_code = EXIT_REQUEUE

    def __init__(self, local_ranks: tuple[int, ...], doing: str = "") -> None:
        self.local_ranks = local_ranks
        self.doing = doing
        ranks = ", ".join(map(str, local_ranks))
        super().__init__(
            f"local ranks {ranks} did not end after SIGKILL{': ' if doing else ''}{doing}; often a dead network file "
            "system or a driver: start the job again on another machine, and look at this one"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.local_ranks, self.doing)


class JobFailedError(LauncherError):
    """The job failed on another node; this node's workers did not fail. The text says where and why.

    `case` is what the report was made of (rules/story), `told` what a node told of itself (rules/testimony); None
    where no more than a reason is known.
    """

    case: Any = None
    told: Any = None


class ChildFailedError(LauncherError):
    """Workers failed and no restart was left.

    `failures` maps global rank to ProcessFailure, this node's workers only; `root` is the global rank
    that failed first; `report` is the text for people, which `str()` gives.
    """

    def __init__(
        self,
        name: str,
        failures: Mapping[int, Any],
        root: int | None = None,
        report: str = "",
    ) -> None:
        if not failures:
            raise ValueError("ChildFailedError needs at least one failure")
        self.name = name
        self.failures = dict(failures)
        self.root = root
        self.report = report
        self.case: Any = None
        """What the report was made of (rules/story), where the launcher made it."""
        super().__init__(report or f"{name} FAILED (ranks {', '.join(map(str, self.failures))})")

    def __reduce__(self) -> tuple[Any, ...]:
        """How it crosses a process: pools of processes send what was raised."""
        return type(self), (self.name, self.failures, self.root, self.report), vars(self)

    def get_first_failure(self) -> tuple[int, Any]:
        """The (global rank, failure) that came first; by its time of failure where no root was given."""
        root = self.root
        if root is None:
            root = min(self.failures, key=lambda rank: self.failures[rank].timestamp)
        return root, self.failures[root]


class SignalException(Exception):
    """The launcher was told to stop by a signal; its workers are gone. `sigval` is the signal."""

    def __init__(self, msg: str, sigval: signal.Signals) -> None:
        super().__init__(msg)
        self.sigval = sigval

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.sigval)

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells report it."""
        return 128 + int(self.sigval)
