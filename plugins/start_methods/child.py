"""A started worker that is a child of this very process, and the file that a function's value comes in."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from launcher_core.runtime import system

if TYPE_CHECKING:
    from launcher_core.hooks.ports import Child


def adopt(pid: int, result: int | None = None) -> Child:
    """The Child of a process that was just started; owns `result`, the descriptor its value is written to.

    Raises OSError when there is no descriptor to watch it by; the process is gone then.
    """
    try:
        return DirectChild(pid, system.exit_fd(pid), result)
    except OSError:
        system.kill_group(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


class DirectChild:
    """A Child that this process can wait for."""

    __slots__ = ("_code", "_result", "fd", "pid")

    def __init__(self, pid: int, fd: int, result: int | None) -> None:
        self.pid = pid
        self.fd = fd
        self._result = result
        self._code: int | None = None

    def exit_code(self) -> int:
        """Its exit status, minus the signal's number if by one. Raises ChildProcessError while it runs."""
        if self._code is None:
            self._code = system.exit_status(self.pid)
        if self._code is None:
            raise still_runs(self.pid)
        return self._code

    def value(self) -> Any:
        """What its function returned; None for commands, and for one that left by exit status 0."""
        return None if self._result is None else read_value(self._result, self.pid)

    def reap(self) -> None:
        """Let go of the process and close the descriptors."""
        if self.fd >= 0:
            system.reap(self.pid)
            os.close(self.fd)
            if self._result is not None:
                os.close(self._result)
            self.fd, self._result = -1, None


def still_runs(pid: int) -> ChildProcessError:
    """The error of asking too early."""
    return ChildProcessError(f"process {pid} still runs: it has no exit status yet")


def read_value(result: int, pid: int) -> Any:
    """The value in the file, None when it is empty. Raises ValueError when it cannot be unpickled here."""
    if not os.fstat(result).st_size:
        return None
    import pickle

    with open(result, "rb", closefd=False) as file:
        file.seek(0)
        try:
            return pickle.load(file)
        except Exception as error:  # the classes in it may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(f"what the function in process {pid} returned cannot be read: {reason}") from error
