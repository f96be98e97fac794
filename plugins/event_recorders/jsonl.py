"""The recorder that `--event-log-handler jsonl[=PATH]` names: one line of JSON per event in a file."""

from __future__ import annotations

import os

from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event

FILE_NAME = "events.jsonl"


@hookimpl
def launcher_make_recorder(argument: str | None, log_dir: str | None) -> JsonlRecorder:
    """A recorder that writes to `argument`, else to events.jsonl in `log_dir`, else in the current directory.

    With the null device for `log_dir` events go there too. Directories that lack are made. Raises OSError,
    with the path, when the file cannot be written.
    """
    if argument:
        return JsonlRecorder(argument)
    if log_dir and os.path.abspath(log_dir) == os.devnull:
        return JsonlRecorder(os.devnull)
    return JsonlRecorder(os.path.join(log_dir or os.curdir, FILE_NAME))


class JsonlRecorder:
    """Appends to one file. Each event is one write, so that several launchers may share a local file."""

    detailed = True

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise type(error)(self._cannot("be opened", error)) from error  # a number would begin the text

    def record(self, event: Event) -> None:
        """Append the event. Raises OSError when all of it does not fit."""
        line = f"{event.serialize()}\n".encode()
        try:
            written = os.write(self._fd, line)
        except OSError as error:
            raise type(error)(self._cannot("be written", error)) from error
        if written < len(line):
            raise OSError(f"event file {self._path!r}: only {written} of {len(line)} bytes could be written")

    def close(self) -> None:
        """Close the file; nothing is held back."""
        os.close(self._fd)

    def _cannot(self, what: str, error: OSError) -> str:
        return (
            f"event file {self._path!r} cannot {what}: {error.strerror}; "
            "name another one with --event-log-handler jsonl=PATH"
        )
