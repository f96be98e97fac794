"""Start method `fork`: a Python function in a copy of the launching process; it need not be picklable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime import system
from launcher_plugins.start_methods import bootstrap, child, forking, parcel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from launcher_core.hooks.ports import Child, Starter
    from launcher_core.model.job import Command, Streams


@hookimpl
def launcher_declare() -> Declaration:
    """Functions only."""
    return Declaration(Capability.FUNCTIONS)


@hookimpl
def launcher_make_starter() -> Starter:
    """A starter that needs no helper process."""
    return ForkStarter()


class ForkStarter:
    """Starts functions, each in a fork of this process. Only what it returns must be picklable."""

    def start(self, command: Command, env: Mapping[str, str], streams: Streams) -> Child:
        """Start the function. Raises OSError when the process cannot be forked."""
        function = parcel.wanted(command, "fork")
        tracker = parcel.tracker_fd()

        def load() -> tuple[Callable[..., Any], tuple[Any, ...]]:
            parcel.use_tracker(None if tracker is None else parcel.PARCEL)
            return function, command.args

        result = system.anonymous_file("result")
        try:
            fds = (*streams, result) if tracker is None else (*streams, result, tracker)
            setup = forking.Setup(fds, env, lambda: bootstrap.run(load, parcel.name_of(function)))
            return child.adopt(forking.fork(setup), result)
        except BaseException:
            os.close(result)
            raise

    def close(self) -> None:
        """Nothing to stop."""
