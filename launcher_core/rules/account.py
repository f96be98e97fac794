"""What a launch ended with, as data for programs: the same case that the text for people tells (rules/story).

Every sentence in it is one of the text. Refuses to know more than that: what nobody could tell is null.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from launcher_core import errors
from launcher_core.rules import story
from launcher_core.rules.blame import Failed
from launcher_core.rules.python_error import PythonError, clean, no_program
from launcher_core.rules.steps import Looked
from launcher_core.rules.story import Case

SCHEMA = 1
"""Grows when a field changes its meaning; new fields and classes may come without."""

CLASSES = (
    "exception", "exit_code", "signal", "segmentation_fault", "out_of_memory", "hang", "unpicklable", "start_failed",
    "rendezvous_failed", "node_lost",
    "host_lost", "other_node", "stopped", "preempted", "stuck", "launcher",
)  # fmt: skip


class Job(NamedTuple):
    """What was launched."""

    run_id: str
    script: str
    command: Sequence[str]
    function: str | None = None


class Where(NamedTuple):
    """The node that writes, with its place in the last round; None before there was one."""

    name: str
    group_rank: int | None = None
    group_world_size: int | None = None
    world_size: int | None = None


class Spent(NamedTuple):
    """Restarts, and wall-clock seconds."""

    restarts: int
    max_restarts: int
    began: float
    ended: float
    seconds: float
    """How long it took, by a clock that nobody sets."""
    past: Sequence[Mapping[str, Any]] = ()
    """What ended the rounds before, as rules/past counts it."""


class Streams(NamedTuple):
    """Where the output of a worker is; None for a stream that was not written to a file."""

    stdout: str | None = None
    stderr: str | None = None


def account(
    job: Job,
    where: Where,
    spent: Spent,
    error: BaseException | None,
    case: Case | None = None,
    failed: Sequence[Failed] = (),
    streams: Mapping[int, Streams] | None = None,
    seen: Looked | None = None,
) -> dict[str, Any]:
    """The document: what JSON knows only. `error` is what the launch raised, `failed` this node's workers that did not
    end well, `case` the verdict on them where the launch failed of them, `streams` by local rank, `seen` what
    those that were stopped had been doing."""
    root = case.blamed if case else None
    told = list(case.failures) if case else list(failed)
    at = (streams or {}).get(root.local_rank, Streams()) if root else Streams()
    if case and case.files is not None:
        at = Streams(case.files[0] or None, case.files[1] or None)
    return {
        "schema": SCHEMA,
        "job": {**job._asdict(), "command": list(job.command)},
        "node": where._asdict(),
        "outcome": outcome(error),
        "exit_code": exit_code(error),
        "cause": None if error is None or not exit_code(error) else _cause(error, case, where),
        "consequences": _consequences(case, root, [one for one in told if one is not root]),
        "stacks": {"lines": list(seen.lines) if seen else [], "file": (seen.path or None) if seen else None},
        "restarts": {"spent": spent.restarts, "allowed": spent.max_restarts, "causes": list(spent.past)},
        "logs": {"error_file": (root.error_file or None) if root else None, **at._asdict()},
        "began": spent.began,
        "ended": spent.ended,
        "seconds": spent.seconds,
    }


def exit_code(error: BaseException | None) -> int:
    """What the shell sees after this error."""
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    code: int = getattr(error, "exit_code", errors.EXIT_FAILED) if error else 0
    return code


def outcome(error: BaseException | None) -> str:
    """In one word: succeeded, failed or stopped. A spare node that was not needed has succeeded."""
    if isinstance(error, errors.SignalException | errors.PreemptedError | KeyboardInterrupt):
        return "stopped"
    return "failed" if exit_code(error) else "succeeded"


def kind(failed: Failed) -> str:
    """The class of a worker's failure; the title of the text says the same."""
    if failed.error and failed.error.type != story.CRASH:
        return "unpicklable" if failed.error.type.endswith("UnsendableValue") else "exception"
    if failed.exit_code < 0:
        signals = {-signal.SIGSEGV: "segmentation_fault"}
        return "out_of_memory" if failed.out_of_memory else signals.get(failed.exit_code, "signal")
    missing = not failed.message and failed.exit_code in (1, 2) and no_program(failed.stderr)
    return "start_failed" if missing else "exit_code"


def last_lines(text: str, limit: int) -> list[str]:
    """The last lines of what a worker printed, in plain text, empty ones at the end left out."""
    lines = clean(text)
    while lines and not lines[-1]:
        lines.pop()
    return lines[-limit:] if limit > 0 else []


_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (errors.SignalException, "stopped"),
    (KeyboardInterrupt, "stopped"),
    (errors.PreemptedError, "preempted"),
    (errors.JobFailedError, "other_node"),
    (errors.HostLostError, "host_lost"),
    (errors.RendezvousError, "rendezvous_failed"),
    (errors.StuckError, "stuck"),
    (errors.StartError, "start_failed"),
    (errors.UsageError, "start_failed"),
)
"""What a launch that no worker's failure ended is said to have ended with; the first that fits."""


def _cause(error: BaseException, case: Case | None, where: Where) -> dict[str, Any]:
    if case is None:
        return {**_NOTHING, **_cause_of(error, where)}
    failed = case.blamed
    number = -failed.exit_code if failed.exit_code < 0 else None
    return {
        "class": "hang" if case.hung else kind(failed),
        "title": story.headline(case),
        "text": "\n".join(story.causes(case)),
        "node": case.hostname,
        "rank": failed.rank,
        "local_rank": failed.local_rank,
        "pid": failed.pid,
        "exit_code": failed.exit_code,
        "stopped": failed.stopped,
        "signal": _signal(number, out_of_memory=failed.out_of_memory),
        "exception": _exception(failed.error),
        "frame": _frame(failed.error),
        "traceback": list(failed.error.lines) if failed.error else [],
        "stderr": last_lines(failed.stderr, case.report_lines),
        "reason": case.reason,
        "note": failed.problem or None,
        "reproduce": case.again or None,
        "at": failed.at,
    }


_NOTHING: Mapping[str, Any] = {
    "class": "launcher", "title": "", "text": "", "node": None, "rank": None, "local_rank": None, "pid": None,
    "exit_code": None, "stopped": False, "signal": None, "exception": None, "frame": None, "traceback": [],
    "stderr": [], "reason": None, "note": None, "reproduce": None, "at": None,
}  # fmt: skip
"""A cause of which nothing is known, fields in their order."""


def _cause_of(error: BaseException, where: Where) -> dict[str, Any]:
    """What is known when no worker of this node is to blame: what the launcher says."""
    told = getattr(error, "told", None)
    if told:  # what befell a node
        return {"class": told["kind"], "title": told["text"], "text": str(error), "node": told["node"]}
    name = next((name for one, name in _KINDS if isinstance(error, one)), "launcher")
    ours = isinstance(error, errors.LauncherError | errors.SignalException)
    text = str(error) if ours else f"{type(error).__name__}: {error}"
    number = exit_code(error) - 128 if name == "stopped" else None
    return {
        "class": name,
        "title": text.partition("\n")[0],
        "text": text,
        "node": None if name in ("other_node", "host_lost") else getattr(error, "node", "") or where.name,
        "signal": _signal(number),
    }


def _signal(number: int | None, *, out_of_memory: bool = False) -> dict[str, Any] | None:
    if number is None:
        return None
    meaning = story.meaning(number, out_of_memory=out_of_memory)
    return {"number": number, "name": story.signal_name(number), "meaning": meaning or None}


def _exception(error: PythonError | None) -> dict[str, str] | None:
    """The exception; none for a crash that faulthandler reported, which is a signal."""
    if error is None or error.type == story.CRASH:
        return None
    return {"type": error.type, "message": error.message}


def _frame(error: PythonError | None) -> dict[str, Any] | None:
    return dict(error.frame._asdict()) if error and error.frame else None


def _consequences(case: Case | None, root: Failed | None, others: Sequence[Failed]) -> dict[str, Any]:
    """What became of the others, by global rank: whom the launcher stopped, and who failed beside the root."""
    gaps = None if case and case.foreign else root
    stopped = [one for one in others if one.stopped]
    own = sorted((one for one in others if not one.stopped), key=lambda one: (one.at, one.rank))
    return {
        "stopped": sorted(one.rank for one in stopped),
        "killed": sorted(one.rank for one in stopped if one.exit_code == -signal.SIGKILL),
        "failed": [
            {
                "rank": one.rank,
                "local_rank": one.local_rank,
                "pid": one.pid,
                "exit_code": one.exit_code,
                "seconds_later": round(one.at - gaps.at, 6) if gaps else None,
                "said": story.said(one),
            }
            for one in own
        ],
        "nodes": [{"node": node, "text": text} for node, text in (case.nodes if case else ())],
    }
