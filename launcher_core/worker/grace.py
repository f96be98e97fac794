"""A worker's request not to be killed yet: it was asked to stop, and is still saving.

    from launcher_core.worker.grace import more_time

    more_time(60)  # kill me in a minute from now, not before: e.g. in the handler of SIGTERM, or before each file

The launcher looks when the grace is over, and then when the time that was asked for is; it gives no more than
--max-shutdown-timeout allows in all. What it reads is an anonymous file of the worker's, which is gone with it.
"""

from __future__ import annotations

import os
from functools import cache
from time import monotonic

from launcher_core.worker.stacks import AGENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from struct import Struct

FILE = "launcher-more-time"
"""The name by which the file is known in /proc/PID/fd."""


def more_time(seconds: float) -> bool:
    """Ask not to be killed for so many seconds from now; whether anybody will hear it. From any thread.

    False outside of a launch, and where the system has no such file. A later call replaces an earlier one.
    Raises ValueError for what is no number of seconds, 0 or more.
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"more_time({seconds}): write a number of seconds, 0 or more")
    if AGENT not in os.environ or not hasattr(os, "memfd_create"):
        return False
    try:
        os.pwrite(_file(), layout().pack(monotonic() + seconds), 0)
    except OSError:
        return False
    return True


@cache
def _file() -> int:
    return os.memfd_create(FILE)


@cache
def layout() -> Struct:
    """How the file says until when, by the machine's clock that nobody sets."""
    from struct import Struct

    return Struct("=d")
