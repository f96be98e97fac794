"""The recorder that `--event-log-handler console` names: one line of JSON per event on stderr."""

from __future__ import annotations

import sys

from launcher_core.errors import UsageError
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event


@hookimpl
def launcher_make_recorder(argument: str | None) -> ConsoleRecorder:
    """A recorder that prints. Raises UsageError when it is given an argument."""
    if argument is not None:
        raise UsageError(f"--event-log-handler console={argument!r}: console takes no argument; write console")
    return ConsoleRecorder()


class ConsoleRecorder:
    """Prints to whatever `sys.stderr` is when the event comes."""

    detailed = True

    def record(self, event: Event) -> None:
        """Print the event. Raises OSError or ValueError when stderr cannot be written."""
        if sys.stderr is not None:
            sys.stderr.write(f"{event.serialize()}\n")
            sys.stderr.flush()

    def close(self) -> None:
        """Nothing is held back."""
