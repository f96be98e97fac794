"""Whether a failure is worth another start, when, and what it costs.

Each agent keeps a ledger by its own clock of what it has seen the job spend. A failure that would only repeat itself
is not tried again: one that came too early, and the same exception twice before the workers did anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher_core.model.news import Cut, Regroup
from launcher_core.model.settings import Retry
from launcher_core.model.value import Value

if TYPE_CHECKING:
    from launcher_core.rules.python_error import PythonError

EARLY_SECONDS = 30.0
"""So soon after its start a worker has hardly begun."""
LONGEST_BACKOFF = 64
"""The longest pause without a bound of its own, in first pauses."""

_PASSES = (
    r"(?:^|\.)(?:(?:OS|IO|Environment|Connection\w*|Timeout\w*|BrokenPipe|BlockingIO|Interrupted|\w*HTTP\w*|URL"
    r"|Dist\w+|\w*Memory|RemoteDisconnected|Remote\w*|SSL\w*|\w*Unavailable|\w*Exhausted)(?:Error|Exception)?"
    r"|gaierror|herror|timeout|KeyboardInterrupt|SignalException)$"
)
"""Types of exceptions that tell of something that may have passed when it is tried again."""


class Broke(Value):
    """How a group failed: what its worker raised ("" when that is not known), and how long the group had run."""

    type: str = ""
    summary: str = ""
    """Type and message in one line, as the other nodes are told it."""
    uptime: float = 0.0
    printed: bool = False
    """Whether something had been printed before, or that cannot be known: a sign that the work had begun."""


class Ledger:
    """What one agent knows of the job's restarts. Times in seconds, by any clock that only grows."""

    def __init__(self, policy: Retry) -> None:
        self._policy = policy
        self._spent: list[tuple[float, int]] = []
        """(when it was seen, how many had been spent by then), the oldest first."""
        self._last = ""
        """Why the newest restart took place, while it was about a start that failed early."""
        self._began = 0.0

    def formed(self, restarts: int, now: float) -> None:
        """A round begins, and so many restarts have been spent by then."""
        self._began = now
        self._note(restarts, now)

    def heard(self, about: Regroup | Cut, now: float) -> None:
        """The group is to be started again."""
        restart = isinstance(about, Regroup) and about.restart
        self._last = about.reason if restart and now - self._began < self._early else ""
        if isinstance(about, Regroup):
            self._note(about.restarts, now)

    def uptime(self, now: float) -> float:
        """How long the group has run."""
        return now - self._began

    def refusal(self, broke: Broke) -> str:
        """Why the failure is not worth another start; "" when it may be."""
        least = self._policy.min_uptime
        if broke.uptime < least:
            return f"not tried again: it ran for {broke.uptime:.1f} s (--restart-min-uptime={least:g})"
        if self._policy.same_failure or not self._is_the_same(broke):
            return ""
        return "not tried again: the same failure twice at the start (--retry-same-failure would)"

    def forgiven(self, now: float) -> int:
        """How many of the restarts that were spent lie outside of the window."""
        window = self._policy.window
        if window is None:
            return 0
        return max((count for seen, count in self._spent if now - seen >= window), default=0)

    def pause(self, now: float) -> float:
        """How long to wait before the restart that has just been spent."""
        first, most = self._policy.backoff, self._policy.backoff_max
        if not first or not self._spent:
            return 0.0
        recent = max(1, self._spent[-1][1] - self.forgiven(now))
        return float(min(first * 2.0 ** min(recent - 1, 40), first * LONGEST_BACKOFF if most is None else most))

    @property
    def _early(self) -> float:
        return max(EARLY_SECONDS, self._policy.min_uptime)

    def _is_the_same(self, broke: Broke) -> bool:
        import re  # nothing of this is wanted unless something fails

        if not broke.summary or broke.printed or broke.uptime >= self._early or re.search(_PASSES, broke.type):
            return False
        return self._last.endswith(f": {broke.summary}")

    def _note(self, restarts: int, now: float) -> None:
        if restarts > (self._spent[-1][1] if self._spent else 0):
            self._spent.append((now, restarts))


def broke_of(error: PythonError | None, stderr: str, uptime: float) -> Broke:
    """How a group failed whose worker ended with this exception, the last thing that it wrote to stderr."""
    if error is None:
        return Broke(uptime=uptime)
    from launcher_core.rules.python_error import clean

    begun = "".join(clean(stderr)).lstrip()
    printed = not error.lines or not begun.startswith(error.lines[0].strip())
    return Broke(error.type, error.summary(), uptime, printed)
