"""The file in which a worker leaves its exception, in torch elastic's format.

A process may die while it writes, and a launcher must not die of reading: `write` puts the whole text in
place at once, `read` takes whatever it finds and says in words what is wrong with it.  Torch reads what is
written here, and what torch wrote is read here.
"""

from __future__ import annotations

import _thread
import errno
import os

TYPE_CHECKING = False  # not typing's: importing typing costs more than everything else in this package
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any

VARIABLE = "TORCHELASTIC_ERROR_FILE"
"""Environment variable that tells a worker where its error file goes; unset or empty: nowhere."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OURS = ("launcher_core", "launcher_plugins", "runpy")

NOT_AVAILABLE = "<N/A>"
"""Torch elastic's word for a path or a name that there is none of."""

MAX_BYTES = 16 * 2**20


class Reading:
    """What was found in an error file.

    `data` is the JSON object; `message` its object form or its text; `timestamp` whole seconds, as the worker
    wrote it; `at` seconds, the file's own time.  With a `problem`, in words, `data` and `message` are empty.
    """

    __slots__ = ("at", "data", "message", "problem", "timestamp")

    def __init__(
        self,
        data: Mapping[str, Any],
        message: Mapping[str, Any] | str,
        timestamp: int,
        at: float,
        problem: str = "",
    ) -> None:
        self.data = dict(data)
        self.message = message
        self.timestamp = timestamp
        self.at = at
        self.problem = problem


def describe(error: BaseException, seconds: float) -> dict[str, Any]:
    """The record of an exception that was caught at `seconds` (wall clock), ready for JSON."""
    import traceback

    kind = type(error)
    callstack = "".join(traceback.format_exception(kind, error, without_our_frames(error)))
    return {
        "message": {
            "message": f"{kind.__name__}: {_text(error)}",
            "extraInfo": {"py_callstack": callstack, "timestamp": str(int(seconds))},
        }
    }


def with_error_code(data: Mapping[str, Any], code: int) -> dict[str, Any]:
    """The record with the exit code of the worker that it came from; unchanged in the flat form or for 0."""
    message = data.get("message")
    if code == 0 or not isinstance(message, dict):
        return dict(data)
    return {**data, "message": {**message, "errorCode": code}}


def write(path: str, text: str) -> None:
    """Put the text at `path`: a reader sees the old file or the whole new one. Raises OSError.

    Where that can only be done in place, a new file that could not be written is removed again.
    """
    if _is_special(path):
        _write_in_place(path, text)
        return
    draft = f"{path}.{os.getpid()}.{_thread.get_ident()}.tmp"
    try:
        _write_in_place(draft, text)
        os.replace(draft, path)
    except OSError as error:
        if _discard(draft) and error.errno in _NO_ROOM:
            raise  # in place there is no more room, and half a record says less than none
        # A directory that takes no new names, or a single file mounted from elsewhere (how Kubernetes
        # offers its termination log), can still be written in place.
        was_there = os.path.exists(path)
        try:
            _write_in_place(path, text)
        except OSError:
            if not was_there:
                _discard(path)
            raise


def read(path: str) -> Reading | None:
    """What `path` holds; None when there is no such file. Never raises for what is in it."""
    if not path or path == NOT_AVAILABLE:
        return None
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    try:
        if not os.path.isfile(path):
            raise ValueError("it is not a regular file")
        if found.st_size > MAX_BYTES:
            raise ValueError(f"it is too large ({found.st_size} bytes, at most {MAX_BYTES} are read)")
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "replace")
        data = _parse(text)
    except (OSError, ValueError, RecursionError) as error:
        problem = f"the error file {path} cannot be used: {error}"
        return Reading({}, "", int(found.st_mtime), found.st_mtime, problem)
    return Reading(data, data["message"], _timestamp(data, found.st_mtime), found.st_mtime)


def _parse(text: str) -> dict[str, Any]:
    """The JSON object in the text, its "message" an object or a text. Raises ValueError in words."""
    import json

    if not text.strip():
        raise ValueError("it is empty")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is cut short or not JSON ({error}); it begins {text[:40]!r}") from error
    if not isinstance(data, dict) or not isinstance(data.get("message"), dict | str):
        raise ValueError(f'it has no "message"; it begins {text[:40]!r}')
    return data


def _timestamp(data: Mapping[str, Any], fallback: float) -> int:
    """Whole seconds from either form; the file's own time when the record has none that makes sense."""
    message = data["message"]
    extra = message.get("extraInfo") if isinstance(message, dict) else data
    value = extra.get("timestamp") if isinstance(extra, dict) else None
    try:
        return int(float(value)) if value is not None else int(fallback)
    except (TypeError, ValueError, OverflowError):
        return int(fallback)


def without_our_frames(error: BaseException) -> TracebackType | None:
    """The exception's traceback from the user's first frame on; all of it when there is none.

    What the launcher did to get there (its worker package, a start method, runpy) says nothing. Of a script that is
    no Python nothing is left: the place is in the error.
    """
    rest = error.__traceback__
    while rest is not None and rest.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _OURS:
        rest = rest.tb_next
    return rest if rest or isinstance(error, SyntaxError) else error.__traceback__


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # whatever a user's __str__ raises must not replace the error that is being recorded
        return "<its __str__ raised another exception>"


def _is_special(path: str) -> bool:
    """Whether renaming onto the path would destroy something: a link, a device, a pipe."""
    return os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path))


def _discard(path: str) -> bool:
    """Remove the file; whether there was one."""
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def _write_in_place(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
