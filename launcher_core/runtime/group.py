"""One worker group from start to sweep: all of its processes, or none."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from signal import SIGCONT, SIGKILL, SIGTERM
from time import monotonic, time
from typing import Any

from launcher_core.errors import LauncherError, StartError, UsageError
from launcher_core.hooks.ports import Child, LogsSpecs, Starter
from launcher_core.model.job import Command, Worker, WorkerExit
from launcher_core.model.logs import LogsDest
from launcher_core.rules.worker_env import expand
from launcher_core.runtime import system
from launcher_core.runtime.tails import Output
from launcher_core.runtime.warden import Warden

KILLED_WITHIN = 10.0
"""Seconds that processes are given to go after SIGKILL, when all is being torn down."""


class Group:
    """The workers of one start. Belongs to the agent's main thread."""

    def __init__(
        self,
        starter: Starter,
        warden: Warden,
        output: Output,
        logs: LogsSpecs,
        stdin: str,
        filters: tuple[Sequence[str], Sequence[str]],
        cpus: Sequence[Collection[int]] = (),
    ) -> None:
        """`stdin` is LaunchConfig.stdin; `filters` are the texts of lines to copy, of stdout and stderr.

        `cpus` are those of each local rank; when it is empty workers run on any that this process may use.
        """
        self._starter = starter
        self._warden = warden
        self._output = output
        self._logs = logs
        self._stdin = stdin
        self._filters = filters
        self._cpus = cpus
        self._children: dict[int, Child] = {}
        self._asked_to_stop: set[int] = set()
        self.dest = LogsDest()
        self.values: dict[int, Any] = {}

    @property
    def pids(self) -> dict[int, int]:
        """Local rank -> pid."""
        return {local: child.pid for local, child in self._children.items()}

    @property
    def fds(self) -> dict[int, int]:
        """Local rank -> descriptor that is readable once the worker has ended."""
        return {local: child.fd for local, child in self._children.items()}

    def start(
        self,
        command: Command,
        workers: Sequence[Worker],
        envs: dict[int, dict[str, str]],
        inherited: Mapping[str, str],
        prefixes: Mapping[int, bytes],
    ) -> None:
        """Start every worker. Raises what stopped it, after those that had started are gone again.

        `envs` are laid over `inherited`; the logs specs add to them.
        """
        self.dest = self._logs.reify(envs)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            stdin = {worker.local_rank: self._stdin_of(worker.local_rank, null) for worker in workers}
            streams = self._output.open(
                self.dest,
                prefixes,
                list(stdin),
                stdin,
                stdout_filters=self._filters[0],
                stderr_filters=self._filters[1],
            )
            for worker in workers:
                local = worker.local_rank
                args = tuple(expand(arg, local) if isinstance(arg, str) else arg for arg in command.args)
                argv = (*command.argv[:1], *(expand(arg, local) for arg in command.argv[1:]))
                mine = command._replace(argv=argv, args=args)
                with system.running_on(self._cpus[local] if self._cpus else None):
                    env = {**inherited, **self._warden.mark, **envs[local]}
                    child = self._starter.start(mine, env, streams[local])
                self._children[local] = child
                self._warden.guard(child.pid)
        except BaseException:
            self.abandon()
            raise
        finally:
            os.close(null)
            self._output.started()

    def ended(self, local: int) -> WorkerExit:
        """How a worker ended whose descriptor is readable."""
        child = self._children[local]
        return WorkerExit(local, child.pid, child.exit_code(), time(), local in self._asked_to_stop)

    def kill(self, signum: int, local_ranks: Sequence[int]) -> None:
        """Signal the process groups of these workers; those that had ended by then ended by themselves.

        What workers that have ended left in their groups is asked and killed with the others.
        """
        for local in local_ranks:
            child = self._children[local]
            if not system.wait_readable(child.fd, 0):
                self._asked_to_stop.add(local)
            system.kill_group(child.pid, signum)
            if signum == SIGTERM:
                system.kill_group(child.pid, SIGCONT)  # one that is stopped would not hear of it
        if signum not in (SIGKILL, SIGTERM) or not local_ranks:
            return
        for local, child in self._children.items():
            if local not in local_ranks and system.wait_readable(child.fd, 0):
                system.kill_group(child.pid, signum)

    def pass_on(self, signum: int, local_ranks: Sequence[int]) -> None:
        """Signal these workers alone. One that ends of it has ended by itself."""
        for local in local_ranks:
            child = self._children.get(local)  # there is none when the start has failed
            if child and child.pid > 1:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(child.pid, signum)

    def abandon(self) -> None:
        """Kill and sweep whoever is there, whatever state it is in."""
        if self._children:
            self.kill(SIGKILL, tuple(self._children))
            give_up = monotonic() + KILLED_WITHIN
            for child in self._children.values():
                system.wait_readable(child.fd, max(0.0, give_up - monotonic()))
            self.sweep(values=False)

    def sweep(self, *, values: bool) -> None:
        """End what the workers left behind in their groups, read their values, show their last output.

        Without `values` the workers did not end well: what they started elsewhere ends, too.
        Raises LauncherError for a value that cannot be read; the workers behind that one are still there then.
        """
        carriers = bool(self._children) and not values
        for local, child in tuple(self._children.items()):
            system.kill_group(child.pid, SIGKILL)
            try:
                if values:
                    self.values[local] = _value(child)
            finally:
                self._warden.release(child.pid)
                del self._children[local]  # once reaped, its number may be another's
                child.reap()
        if carriers:
            system.kill_carriers(self._warden.mark)
        self._asked_to_stop.clear()
        self._output.drain(0.5)

    def _stdin_of(self, local: int, null: int) -> int:
        chosen = self._stdin == "all" or self._stdin == str(local)
        return 0 if chosen and system.is_open(0) else null


def _value(child: Child) -> Any:
    try:
        return child.value()
    except ValueError as error:
        raise LauncherError(str(error)) from error


def explained(error: OSError | ValueError) -> LauncherError:
    """Why it could not be started, in words: a ValueError is about what was asked for."""
    if isinstance(error, ValueError):
        found: LauncherError = UsageError(str(error))
    else:
        plain = None if error.filename else error.strerror
        found = StartError(system.too_many_files(error) or plain or str(error))
    found.__cause__ = error
    return found
