"""The recorder that `--event-log-handler null` names, the default: events go nowhere."""

from __future__ import annotations

from launcher_core.errors import UsageError
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event


@hookimpl
def launcher_make_recorder(argument: str | None) -> NullRecorder:
    """A recorder that forgets. Raises UsageError when it is given an argument."""
    if argument is not None:
        raise UsageError(f"--event-log-handler null={argument!r}: null takes no argument; write null")
    return NullRecorder()


class NullRecorder:
    """Takes events and keeps none."""

    def record(self, event: Event) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""
