"""Writes the final report as JSON (--report FILE), whatever a launch ends with; imported by launches that want one.

The file is there when the launch is over, and not before: one that an earlier launch left is removed first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from signal import SIGKILL
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from launcher_core.cli.report import log_file
from launcher_core.errors import UsageError
from launcher_core.rules.account import Job, Spent, Streams, Where, account
from launcher_core.rules.blame import Failed, read_failure
from launcher_core.rules.past import causes
from launcher_core.runtime.memory import oom_kills
from launcher_core.worker import error_file

if TYPE_CHECKING:
    from launcher_core.cli.tell import Teller
    from launcher_core.launch import Prepared
    from launcher_core.runtime.parts import Ending

FLAG = "--report"


class ReportFile:
    """A place for one report."""

    def __init__(self, path: str, oom_kills: Callable[[], int | None] = oom_kills) -> None:
        """Nothing is touched yet; `oom_kills` asks the kernel. Raises UsageError for a path that takes no file."""
        reason = _unfit(path)
        if reason:
            raise UsageError(f"{FLAG}={path!r}: {reason}; name a file in a directory that can be written")
        self.path = os.path.realpath(path)
        self._oom_kills = oom_kills

    @contextmanager
    def about(self, launch: Prepared, tell: Teller) -> Iterator[Callable[[Ending], None]]:
        """Write about the launch that goes on meanwhile. What is yielded wants to hear how its agent ended."""
        with suppress(OSError):
            os.unlink(self.path)
        endings: list[Ending] = []
        killed = self._oom_kills()

        def heard(ending: Ending) -> None:
            endings.append(ending)
            if killed is not None and (self._oom_kills() or 0) > killed:
                _mark(ending)

        began, begun = time(), monotonic()
        error: BaseException | None = None
        try:
            yield heard
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = monotonic() - begun
            moments = (round(began, 6), round(began + seconds, 6), round(seconds, 6))
            try:
                self._write(document(launch, endings[-1] if endings else None, error, moments))
            except Exception as reason:  # how the launch ended is not for its report to change
                words = getattr(reason, "strerror", None) or f"{type(reason).__name__}: {reason}"
                tell.line(f"{FLAG}={self.path!r}: the report could not be written: {words}")

    def _write(self, found: Mapping[str, Any]) -> None:
        error_file.write(self.path, json.dumps(found, indent=2) + "\n")


def document(
    launch: Prepared, ending: Ending | None, error: BaseException | None, moments: tuple[float, float, float]
) -> dict[str, Any]:
    """The report on a launch; `moments` are when it began and ended, and how many seconds it took."""
    command, config = launch.command, launch.config
    words = command.argv or tuple(str(arg) for arg in command.args)
    name = getattr(command.function, "__qualname__", None) if command.function else None
    place = ending.agent.place if ending else None
    sizes = (place.group_rank, place.group_world_size, place.world_size) if place else ()
    return account(
        Job(config.run_id, command.name, words, name),
        Where(launch.node.name, *sizes),
        Spent(place.restarts if place else 0, config.max_restarts, *moments, causes(ending.past if ending else ())),
        error,
        getattr(error, "case", None),
        _failed(ending),
        _streams(ending),
        ending.agent.seen if ending and error else None,
    )


def _mark(ending: Ending) -> None:
    """Have it known of the workers that SIGKILL ended, and not the launcher's, that memory was wanting."""
    for failure in ending.failures.values():
        failure.out_of_memory = failure.exitcode == -SIGKILL and not failure.stopped


def _failed(ending: Ending | None) -> list[Failed]:
    if ending is None:
        return []
    base = ending.agent.place.base_rank if ending.agent.place else 0
    return [read_failure(base + local, failure) for local, failure in sorted(ending.failures.items())]


def _streams(ending: Ending | None) -> dict[int, Streams]:
    if ending is None:
        return {}
    dest = ending.dest
    return {
        local: Streams(log_file(dest.stdouts, local) or None, log_file(dest.stderrs, local) or None)
        for local in ending.failures
    }


def _unfit(path: str) -> str:
    """Why no report can be written there, in words; "" where it can, as far as can be seen."""
    folder = os.path.dirname(os.path.realpath(path)) if "\0" not in path else ""
    if not folder:
        return "no file has such a name"
    if path.endswith("/") or os.path.isdir(path):
        return "it is a directory"
    if os.path.exists(path) and not os.path.isfile(path):
        return "it is no regular file"
    if not os.path.isdir(folder):
        return f"there is no directory {folder}"
    if not os.access(folder, os.W_OK | os.X_OK) and not (os.path.isfile(path) and os.access(path, os.W_OK)):
        return f"{folder} cannot be written"
    return ""
