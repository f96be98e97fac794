"""Finds which worker failed first, and why: the one that the report is about.

One worker's death makes its peers fail within milliseconds, so the order of detection and whole seconds
mislead.  Refuses to blame a worker that was told to stop while another failed by itself.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from launcher_core.rules.python_error import CAUSED, DURING, PythonError, clean, find_exception, tracebacks

__all__ = [
    "Failed",
    "PythonError",
    "Root",
    "choose_root",
    "find_exception",
    "had_raised",
    "is_echo",
    "read_failure",
    "shows_why",
]

ECHO_SECONDS = 1.0
"""A broken connection this soon before another failure is taken for its echo: a process that raised prints,
closes its connections and is seen to end in that order, and its peers may be faster than the end of it."""

CRASHES = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGINT,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
"""Signals that come from inside the process, or that Python turns into an exception: what it printed last
belongs to its death.  After the others, SIGKILL first of all, what it printed is older than the cause."""

_BROKEN = re.compile(
    r"connection(?: was)? (?:reset|refused|aborted|closed|timed out)|broken pipe|closed by (?:remote )?peer"
    r"|ConnectionResetError|ConnectionRefusedError|ConnectionAbortedError|BrokenPipeError"
    r"|reset by peer|remote process (?:has )?exited|socket (?:closed|timeout|(?:has )?timed out)"
    r"|failed to recv|recvvalue failed|connectfullmesh failed|application timeout caused pair closure"
    r"|nccl(?:Remote|System)Error|communicator was aborted|peer closed|collective operation timeout"
    r"|timed out waiting \d+ ?ms for |^TimeoutError: (?:The read operation )?timed out$"
    r"|^EOFError:? ?$|unexpected (?:end of (?:file|stream)|EOF)\b|\bIncompleteReadError\b",
    re.IGNORECASE | re.MULTILINE,
)
_UNCAUGHT = (1, 120)
"""How Python exits on an exception that nobody handled; 120 if its output could not be flushed either."""
_STOPPED = ("SignalException", "KeyboardInterrupt")
_LAST_LINES = 20
_LAST_WORDS = 5
"""So many lines may follow the traceback of a process that ends: what it says while it closes things."""
_LOGGED = re.compile(r"\b(?:DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\b|^\[?\d{4}-\d\d-\d\d[ T]|^[IWEF]\d{4} \d\d:")
"""A line that a logger wrote: what follows it was handled."""
_OF_THE_STOP = re.compile(r"killed by signal|\bSIGTERM\b|\bterminated\b", re.IGNORECASE)
"""What a worker's message says when processes that it had started were stopped with it."""


class Failure(Protocol):
    """What a ProcessFailure offers; see launcher_core.worker.failure."""

    local_rank: int
    pid: int
    exitcode: int
    error_file: str
    error_file_data: dict[str, Any]
    at: float
    stderr_tail: str
    stopped: bool
    problem: str
    out_of_memory: bool


class Failed(NamedTuple):
    """One failed worker, with what it said about it. `at` is wall-clock seconds, with fractions.

    `message` is the text of its error file, `problem` what is wrong with that file.
    """

    rank: int
    local_rank: int
    pid: int
    exit_code: int
    at: float
    stopped: bool = False
    error: PythonError | None = None
    message: str = ""
    stderr: str = ""
    error_file: str = ""
    problem: str = ""
    seen: PythonError | None = None
    """The last exception in its output, where it ended in another way: it may have been handled."""
    out_of_memory: bool = False
    """Whether SIGKILL ended it while the kernel killed processes for want of memory."""


class Root(NamedTuple):
    """The position of the failure to blame, and the reason as a sentence."""

    position: int
    reason: str


def read_failure(rank: int, failure: Failure) -> Failed:
    """The failure of the worker with this global rank, with the exception that it recorded or printed."""
    written = failure.error_file not in ("", "<N/A>")
    error, message = _recorded(failure.error_file_data) if written and not failure.problem else (None, "")
    seen = None
    if error is None and not message and (failure.stopped or _explains(failure.exitcode)):
        seen = find_exception(failure.stderr_tail)
    if failure.stopped or failure.exitcode < 0 or failure.exitcode in _UNCAUGHT:
        error, seen = error or seen, None
    return Failed(
        rank=rank,
        local_rank=failure.local_rank,
        pid=failure.pid,
        exit_code=failure.exitcode,
        at=failure.at,
        stopped=failure.stopped,
        error=error,
        message=message,
        stderr=failure.stderr_tail,
        error_file=failure.error_file if written else "",
        problem=failure.problem or getattr(failure, "explanation", ""),
        seen=seen,
        out_of_memory=failure.out_of_memory,
    )


def choose_root(failures: Sequence[Failed]) -> Root:
    """The failure that explains the others. Raises ValueError when there is none at all."""
    if not failures:
        raise ValueError("there is no failure to choose from")
    own = [position for position, failed in enumerate(failures) if not failed.stopped]
    order = sorted(own or range(len(failures)), key=lambda position: _order(failures[position]))
    first = order[0]
    if not own:
        return Root(first, f"the launcher stopped every worker; {_name(failures[first])} ended first")
    if not is_echo(failures[first]):
        return Root(first, _why_first(failures, order))
    for position in order[1:]:
        if failures[position].at - failures[first].at > ECHO_SECONDS:
            break
        if not is_echo(failures[position]):
            return Root(position, _why_not_the_echo(failures[first], failures[position]))
    ending = [position for position, failed in enumerate(failures) if had_raised(failed)]
    if len(ending) == 1:
        return Root(ending[0], _why_the_stopped(failures[first], failures[ending[0]]))
    return Root(first, f"{_why_first(failures, order)}; {_where_to_look(failures)}")


def is_echo(failed: Failed) -> bool:
    """Whether the failure reads like a broken connection, as a worker sees the death of another."""
    if failed.exit_code < 0 and failed.exit_code != -signal.SIGABRT and failed.error is None:
        return False
    if failed.error is not None:
        said = "\n".join([f"{failed.error.type}: {failed.error.message}", *_chained(failed.error)])
    else:
        said = failed.message or "\n".join(clean(failed.stderr)[-_LAST_LINES:])
    return _BROKEN.search(said) is not None


def shows_why(failed: Failed) -> bool:
    """Whether that is sure enough to be believed over what another node tells: see `had_raised`.

    What it has recorded counts, and a traceback that nothing was printed after; not what the stop itself brings about.
    """
    error = failed.error
    if error is None or not had_raised(failed) or _OF_THE_STOP.search(error.message):
        return False
    lines = clean(failed.stderr)
    while lines and not lines[-1]:
        lines.pop()
    blocks = tracebacks(lines)
    last = bool(blocks) and blocks[-1].end == len(lines) and "\n" not in error.message  # else it may have gone on
    return last or bool(failed.error_file and not failed.problem)


def had_raised(failed: Failed) -> bool:
    """Whether a worker that the launcher stopped had raised by then, and was about to end.

    It recorded its exception, or the traceback is the last that it said, and no line of a log leads up to it.
    """
    error = failed.error if failed.stopped else None
    if error is None or error.type.endswith(_STOPPED) or is_echo(failed):
        return False
    return bool(failed.error_file) or _is_last_word(clean(failed.stderr))


def _is_last_word(lines: Sequence[str]) -> bool:
    blocks = tracebacks(lines)
    if not blocks or blocks[-1].aside:
        return False
    before, after = lines[: blocks[-1].start], lines[blocks[-1].end :]
    said = [line for line in after if line.strip()]
    return len(said) <= _LAST_WORDS and not (before and _LOGGED.search(before[-1]))


def seconds_text(seconds: float) -> str:
    """A duration in the unit that reads best, to two digits or so."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.{1 if seconds < 0.00995 else 0}f} ms"
    return f"{seconds:.{1 if seconds < 9.95 else 0}f} s"


def _recorded(data: Mapping[str, Any]) -> tuple[PythonError | None, str]:
    """The exception in the JSON object of an error file, and the text of its message."""
    message = data.get("message")
    if not isinstance(message, Mapping):
        text = _plain(message)
        return find_exception(text), text
    text = _plain(message.get("message"))
    extra = message.get("extraInfo")
    callstack = str(extra.get("py_callstack", "")) if isinstance(extra, Mapping) else ""
    name, colon, rest = text.partition(": ")
    named = PythonError(name, rest) if colon and name.isidentifier() else None
    return find_exception(callstack) or named, text


def _plain(value: object) -> str:
    """A text that somebody recorded, as it can be shown: without colours and control characters."""
    return "" if value is None else "\n".join(clean(str(value)))


def _chained(error: PythonError) -> list[str]:
    """The exceptions that led to this one, as they were printed: what is not indented, as frames and sources are."""
    lines = [line for line in error.lines if line and not line.startswith(" ")]
    return lines[:-1] if CAUSED in lines or DURING in lines else []


def _explains(exit_code: int) -> bool:
    """Whether a worker that ended so may have printed why."""
    return exit_code >= 0 or -exit_code in CRASHES


def _order(failed: Failed) -> tuple[float, bool, int]:
    """Earliest first; of those at one moment, a lost connection last, then by rank."""
    return failed.at, is_echo(failed), failed.rank


def _name(failed: Failed) -> str:
    return f"rank {failed.rank}"


def _why_first(failures: Sequence[Failed], order: Sequence[int]) -> str:
    first = failures[order[0]]
    if len(order) == 1:
        others = "; the launcher stopped the others" if len(failures) > 1 else ""
        return f"{_name(first)} is the only worker that failed by itself{others}"
    second = failures[order[1]]
    if second.at > first.at:
        return f"{_name(first)} failed first, {seconds_text(second.at - first.at)} before {_name(second)}"
    same = f"{_name(first)} and {_name(second)} failed at the same moment"
    if is_echo(second) and not is_echo(first):
        return f"{same}, but {_name(second)} of a lost connection"
    return f"{same}; the lower rank is shown"


def _why_not_the_echo(echo: Failed, root: Failed) -> str:
    gap = seconds_text(root.at - echo.at)
    return f"{_name(echo)} failed {gap} earlier, but of a lost connection, as follows from a peer's failure"


def _why_the_stopped(echo: Failed, root: Failed) -> str:
    first = f"{_name(echo)} failed first, but of a lost connection"
    return f"{first}; {_name(root)} had raised, and was stopped before its end"


def _where_to_look(failures: Sequence[Failed]) -> str:
    """What to look at when all that is known is that connections were lost."""
    for failed in failures:
        if failed.error and had_raised(failed):
            return f"{_name(failed)} had printed {failed.error.summary()!r} when the launcher stopped it"
    return "it lost a connection, so another worker, here or on another node, may have failed before it"
