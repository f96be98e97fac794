"""Start method `forkserver`: a Python function in a fork of a small, single-threaded server process.

The server is started with the first worker and serves one launch. Its workers' own imports happen after the
fork, with the worker's environment in place.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from launcher_core.hooks.ports import Declaration
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.capability import Capability
from launcher_core.runtime import system
from launcher_plugins.start_methods import bootstrap, child, parcel, server

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from launcher_core.hooks.ports import Child, Starter
    from launcher_core.model.job import Command, Streams

ANSWER_WITHIN = 60.0
"""Seconds. The server answers in milliseconds, the first time after its interpreter has started."""
END_WITHIN = 5.0


@hookimpl
def launcher_declare() -> Declaration:
    """Functions only."""
    return Declaration(Capability.FUNCTIONS)


@hookimpl
def launcher_make_starter() -> Starter:
    """A starter; its server is not started yet."""
    parcel.refuse_unguarded()
    return ForkServerStarter()


class ForkServerStarter:
    """Starts functions that can be pickled, each in a fork of the server."""

    def __init__(self) -> None:
        self._server: Server | None = None
        self._children: set[int] = set()
        self._closing = False

    def start(self, command: Command, env: Mapping[str, str], streams: Streams) -> Child:
        """Start the function. Raises ValueError when it, or an argument, cannot be pickled."""
        packed, *passed = parcel.pack(command, "forkserver", env)
        try:
            if self._server is not None and self._server.has_ended():
                self._server.close()
                self._server = None
            if self._server is None:
                self._server = start_server()
            result = system.anonymous_file("result")
            try:
                pid = self._server.ask(server.START, 0, (*streams, result, packed, *passed))
                return self._adopt(self._server, pid, result)
            except BaseException as error:
                os.close(result)
                if isinstance(error, ConnectionError):
                    self._server.close()
                    self._server = None  # the next start begins with another
                raise
        finally:
            os.close(packed)

    def _adopt(self, owner: Server, pid: int, result: int) -> ServedChild:
        try:
            fd = system.pid_fd(pid)
        except (OSError, NotImplementedError) as error:
            system.kill_group(pid, signal.SIGKILL)
            raise OSError(f"start method forkserver cannot watch its worker: {error}") from error
        self._children.add(pid)
        return ServedChild(self, owner, (pid, fd, result))

    def forget(self, pid: int) -> None:
        """Take note that the child is reaped."""
        self._children.discard(pid)
        if self._closing:
            self.close()

    def close(self) -> None:
        """End the server; only once every child is reaped, because they die with it."""
        self._closing = True
        if self._server is not None and not self._children:
            self._server.close()
            self._server = None


class ServedChild:
    """A Child whose parent is the server."""

    __slots__ = ("_code", "_result", "_server", "_starter", "fd", "pid")

    def __init__(self, starter: ForkServerStarter, owner: Server, owned: tuple[int, int, int]) -> None:
        self._starter = starter
        self._server = owner
        self.pid, self.fd, self._result = owned
        self._code: int | None = None

    def exit_code(self) -> int:
        """Its exit status, minus the signal's number if by one. Raises ChildProcessError while it runs."""
        if self._code is None:
            if not system.wait_readable(self.fd, 0):
                raise child.still_runs(self.pid)
            try:
                self._code = self._server.ask(server.STATUS, self.pid)
            except ConnectionError:
                self._code = -signal.SIGKILL  # by its parent-death signal: the server is gone
        return self._code

    def value(self) -> Any:
        """What its function returned; None for one that left by exit status 0."""
        return child.read_value(self._result, self.pid)

    def reap(self) -> None:
        """Have the server let go of the process, and close the descriptors."""
        if self.fd >= 0:
            with suppress(ConnectionError):  # then init has reaped it
                self._server.ask(server.REAP, self.pid)
            os.close(self.fd)
            os.close(self._result)
            self.fd = self._result = -1
            self._starter.forget(self.pid)


class Server:
    """This process's end of the server: one question, one answer."""

    def __init__(self, pid: int, fd: int, control: socket.socket) -> None:
        self._pid = pid
        self._fd = fd
        self._control = control

    def ask(self, what: int, pid: int, fds: Sequence[int] = ()) -> int:
        """The server's answer. Raises ConnectionError when it is gone, and the OSError it had otherwise."""
        import socket

        answer = b""
        if self._control.fileno() >= 0:
            with suppress(ConnectionError, TimeoutError):
                socket.send_fds(self._control, [server.QUESTION.pack(what, pid)], fds)
                answer = self._control.recv(server.ANSWER.size)
        if len(answer) != server.ANSWER.size:
            raise ConnectionError(f"the fork server (pid {self._pid}) does not answer; its workers end with it")
        problem, number = server.ANSWER.unpack(answer)
        if problem:
            raise OSError(problem, f"the fork server could not do it: {os.strerror(problem)}")
        return int(number)

    def has_ended(self) -> bool:
        """Whether there is nobody to answer any more."""
        return system.wait_readable(self._fd, 0)

    def close(self) -> None:
        """End the server, and with it every child of it that still runs."""
        self._control.close()
        system.end(self._pid, self._fd, END_WITHIN)


def start_server() -> Server:
    """A new server process, a child of this one, that ends when this one does."""
    import socket

    ours, theirs = socket.socketpair()
    nothing = os.open(os.devnull, os.O_RDWR)
    header = parcel.pack_header("fork server")
    try:
        fds = (nothing, nothing, 2, theirs.fileno(), header)
        pid = bootstrap.start_interpreter("server", fds, dict(os.environ), "fork server")
        try:
            fd = system.exit_fd(pid)
        except OSError:
            system.kill_group(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(nothing)
        os.close(header)
    ours.settimeout(ANSWER_WITHIN)
    return Server(pid, fd, ours)
