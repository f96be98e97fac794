"""What one node tells the others of a failure, so that all of them report the same one; and which of two is believed.

A testimony is a JSON object of at most MOST bytes: a worker that failed (rules/blame.Failed) with what only its node
knows of it, or, without a rank, what befell the node. It is passed on as it is by nodes that make nothing of it.

Clocks of two nodes are never compared. The one who collects testimonies reckons when each failure was, by its own
clock, from when the word came and how old the failure was by the clock of the node that sent it. What the launcher
killed is never believed over a worker that failed by itself, and a lost connection never over what may have caused it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher_core.rules.blame import ECHO_SECONDS, Failed, is_echo, shows_why
from launcher_core.rules.python_error import Frame, PythonError, clean
from launcher_core.rules.story import APART

MOST = 8192
"""Bytes of a testimony, as it is sent."""
MOST_TOLD = 600
"""Letters in which a node tells what became of its workers."""

Testimony = Mapping[str, Any]

_LINE, _PATH, _MESSAGE, _AGAIN = 300, 1024, 1500, 2000
_TRACEBACK, _STDERR = 40, 40


def statement(
    node: str,
    failed: Failed | None = None,
    *,
    kind: str = "",
    text: str = "",
    age: float = 0.0,
    stdout: str | None = None,
    stderr: str | None = None,
    again: str = "",
    refusal: str = "",
    apart: bool = False,
) -> dict[str, Any]:
    """What `node` tells of a worker, or, with a `kind` and a `text`, of itself; `age`: seconds since it happened.

    `stdout` and `stderr` are files of that node; `again` is a command that runs such a worker, `refusal` why it is not
    tried again where it might be, `apart` whether a watch has named this worker.
    """
    told: dict[str, Any] = {"node": node[:_PATH], "kind": kind, "text": text[:_MESSAGE], "age": max(0.0, round(age, 6))}
    if refusal:
        told["refusal"] = refusal[:_MESSAGE]
    if apart:
        told["apart"] = True
    if failed is not None:
        told |= {
            "rank": failed.rank,
            "local_rank": failed.local_rank,
            "pid": failed.pid,
            "exit_code": failed.exit_code,
            "at": failed.at,
            "stopped": failed.stopped,
            "out_of_memory": failed.out_of_memory,
            "echo": is_echo(failed),
            "shows": failed.stopped and shows_why(failed),
            "error": _written(failed.error),
            "seen": _written(failed.seen and failed.seen._replace(lines=())),
            "message": failed.message[:_MESSAGE],
            "problem": failed.problem[:_MESSAGE],
            "stderr": [line[:_LINE] for line in _last(failed.stderr)],
            "files": [(path or "")[:_PATH] for path in (failed.error_file, stdout, stderr)],
            "again": again if len(again) <= _AGAIN else "",
        }
    return _fitted(_plain(told))


def failed_of(told: Testimony) -> Failed | None:
    """The worker that a testimony is about; None when it is about the node."""
    if told.get("rank") is None:
        return None
    return Failed(
        rank=told["rank"],
        local_rank=told["local_rank"],
        pid=told["pid"],
        exit_code=told["exit_code"],
        at=float(told["at"]),
        stopped=told["stopped"],
        error=_read(told["error"]),
        message=told["message"],
        stderr="\n".join(told["stderr"]),
        error_file=told["files"][0],
        problem=told["problem"],
        seen=_read(told["seen"]),
        out_of_memory=told["out_of_memory"],
    )


# --- which one is believed -------------------------------------------------------------------------------


def believed(old: Testimony | None, old_at: float | None, new: Testimony, new_at: float | None) -> bool:
    """Whether `new` explains more than `old`; `_at`: when they happened, by one clock, or None."""
    if old is None or (_whose(old) == _whose(new) and weight(new) >= weight(old)):
        return True
    ours, theirs = weight(old), weight(new)
    if ours == theirs:
        return old_at is not None and new_at is not None and new_at < old_at
    soon = old_at is None or new_at is None or new_at - old_at <= ECHO_SECONDS
    return theirs > ours and (ours > ECHO or soon)


NOTHING, ECHO, STOPPED, VAGUE, OWN = range(5)
"""How much testimonies say: nothing, a lost connection, an exception of a worker that was stopped, a hang of nobody in
particular, a failure."""


def weight(told: Testimony) -> int:
    """One of those."""
    if told.get("kind"):
        return VAGUE if told["kind"] == "hang" and not told.get("apart") else OWN
    if told.get("stopped"):
        return STOPPED if told.get("shows") and not told.get("echo") else NOTHING
    return ECHO if told.get("echo") else OWN


def why(old: Testimony | None, new: Testimony) -> str:
    """Why `new` is blamed, which takes the place of `old`, as a sentence."""
    if new.get("kind") == "hang":
        return APART if new.get("apart") is True else f"a watch on {new['node']} gave the workers up"
    if old is None or _whose(old) == _whose(new):
        return str((old or {}).get("reason") or f"{name(new)} failed first, as far as any node has told")
    if weight(old) == ECHO:
        lost = f"{name(old)} was told of before, but failed of a lost connection, as follows from a peer's failure"
        return f"{lost}; {name(new)} had printed why when it was stopped" if weight(new) == STOPPED else lost
    return f"{name(new)} failed first; {name(old)}, which was told of before, did so later"


def last_word(told: Testimony) -> Testimony:
    """The testimony when no other has come: of a lost connection it says that."""
    if weight(told) != ECHO:
        return told
    return {**told, "reason": f"{name(told)} lost a connection, and no node has told of another failure"}


def name(told: Testimony) -> str:
    """Who it is about, in words."""
    return f"rank {told['rank']} on {told['node']}" if told.get("rank") is not None else str(told["node"])


def _whose(told: Testimony) -> tuple[Any, ...]:
    return (told["node"], told["kind"]) if told.get("kind") else (told["node"], told["rank"], told["pid"])


# --- what a testimony must be ------------------------------------------------------------------------------


def is_sound(value: Any) -> bool:
    """Whether it is one, so that nobody behind this needs to doubt it. Fields that are not known may be there."""
    if not isinstance(value, dict) or not all(fits(value.get(key)) for key, fits in _NODE.items()):
        return False
    if value.get("rank") is not None and not all(fits(value.get(key)) for key, fits in _WORKER.items()):
        return False
    return len(_encoded(value)) <= 2 * MOST


def _text(value: Any) -> bool:
    return isinstance(value, str) and (value.isascii() or not any("\ud800" <= one <= "\udfff" for one in value))


def _whole(value: Any) -> bool:
    return type(value) is int and -(1 << 63) <= value < 1 << 63


def _number(value: Any) -> bool:
    return type(value) in (int, float) and -1e12 < value < 1e12


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _error(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 4:
        return False
    type, message, frame, lines = value
    where = frame is None or (isinstance(frame, list) and len(frame) == 4 and _texts([frame[0], *frame[2:]]))
    return _text(type) and _text(message) and where and (frame is None or _whole(frame[1])) and _texts(lines)


def _maybe(value: Any) -> bool:
    return value is None or _text(value)


_NODE: Mapping[str, Callable[[Any], bool]] = {
    "node": _text, "kind": _text, "text": _text, "age": _number, "reason": _maybe, "refusal": _maybe,
}  # fmt: skip
_WORKER: Mapping[str, Callable[[Any], bool]] = {
    "rank": _whole, "local_rank": _whole, "pid": _whole, "exit_code": _whole, "at": _number, "stopped": _flag,
    "out_of_memory": _flag, "echo": _flag, "shows": _flag, "error": _error, "seen": _error, "message": _text,
    "problem": _text, "stderr": _texts, "files": lambda value: _texts(value) and len(value) == 3, "again": _text,
}  # fmt: skip


# --- its size ----------------------------------------------------------------------------------------------


def _written(error: PythonError | None) -> list[Any] | None:
    if error is None:
        return None
    lines = [line[:_LINE] for line in error.lines]
    if len(lines) > _TRACEBACK:
        lines = [lines[0], f"  ... {len(lines) - _TRACEBACK + 2} lines ...", *lines[2 - _TRACEBACK :]]
    frame = error.frame and [error.frame.file[:_PATH], error.frame.line, *(x[:_LINE] for x in error.frame[2:])]
    return [error.type[:_LINE], error.message[:_MESSAGE], frame, lines]


def _read(written: Sequence[Any] | None) -> PythonError | None:
    if written is None:
        return None
    type, message, frame, lines = written
    return PythonError(type, message, Frame(*frame) if frame else None, tuple(lines))


def _last(text: str) -> list[str]:
    lines = clean(text)
    while lines and not lines[-1]:
        lines.pop()
    return lines[-_STDERR:]


def _plain(value: Any) -> Any:
    """The value with texts that can be written anywhere."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _fitted(told: dict[str, Any]) -> dict[str, Any]:
    """The testimony with so many lines fewer, or so much shorter texts, that it is small enough."""
    while len(_encoded(told)) > MOST:
        longest = max(_lists(told), key=lambda lines: len(_encoded(lines)))
        if len(longest) > 6:
            del longest[1 : 1 + len(longest) // 4]
            continue
        told = _halved(told)
    return told


def _lists(told: dict[str, Any]) -> list[list[Any]]:
    errors = [error[3] for error in (told.get("error"), told.get("seen")) if error]
    return [told.get("stderr", []), *errors]


def _halved(value: Any) -> Any:
    """Every long text in it half as long."""
    if isinstance(value, str):
        return value if len(value) <= 40 else value[: len(value) // 2]
    if isinstance(value, list):
        return [_halved(one) for one in value]
    return {key: _halved(one) for key, one in value.items()} if isinstance(value, dict) else value


def _encoded(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
