"""Start method `spawn`: a Python function in a fresh interpreter, which begins with its environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime import system
from launcher_plugins.start_methods import bootstrap, child, parcel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher_core.hooks.ports import Child, Starter
    from launcher_core.model.job import Command, Streams


@hookimpl
def launcher_declare() -> Declaration:
    """Functions only."""
    return Declaration(Capability.FUNCTIONS)


@hookimpl
def launcher_make_starter() -> Starter:
    """A starter that needs no helper process."""
    parcel.refuse_unguarded()
    return SpawnStarter()


class SpawnStarter:
    """Starts functions that can be pickled, each in an interpreter of its own."""

    def start(self, command: Command, env: Mapping[str, str], streams: Streams) -> Child:
        """Start the function. Raises ValueError when it, or an argument, cannot be pickled."""
        packed, *passed = parcel.pack(command, "spawn")
        try:
            result = system.anonymous_file("result")
            try:
                fds = (*streams, result, packed, *passed)
                pid = bootstrap.start_interpreter("bootstrap", fds, env, command.name)
                return child.adopt(pid, result)
            except BaseException:
                os.close(result)
                raise
        finally:
            os.close(packed)

    def close(self) -> None:
        """Nothing to stop."""
