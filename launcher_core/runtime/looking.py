"""Sees what the workers of a group are doing before they are stopped, in a thread that the loop never waits for.

What it finds goes into a file beside the workers' output; identical stacks are folded. Imported when something has
failed. Whatever goes wrong here, the group is stopped.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from launcher_core.model.logs import LogsDest
from launcher_core.rules.steps import Look, Looked

MOST_LINES = 6
"""Places that are told of; the file has all."""
FILE = "stacks.txt"
MARGIN = 0.1
"""Seconds of those that a look may take that are left for its file."""
END_SECONDS = 0.5
"""How long the end of a group waits for a look that was broken off."""


class Looking:
    """One look. Begun and closed by one thread; `post` is told of the result, once, by another."""

    def __init__(self, look: Look, pids: Mapping[int, int], folder: str, seconds: float) -> None:
        """`pids` are those of the workers by rank; `folder` is where the file goes, empty for none."""
        self._look = look
        self._pids = dict(pids)
        self._folder = folder
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, post: Callable[[Looked], None]) -> None:
        """Look; where no thread can be had there is nothing to see."""
        thread = threading.Thread(target=self._run, args=(post,), name="launcher-look", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            post(Looked(self._look.round))
            return
        self._thread = thread

    def hurry(self) -> None:
        """Have it end with what it has."""
        self._stop.set()

    def close(self) -> None:
        """End it: the workers' numbers may be others' from now on."""
        self.hurry()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _run(self, post: Callable[[Looked], None]) -> None:
        lines: tuple[str, ...] = ()
        path = ""
        try:
            from launcher_core.rules import stacks
            from launcher_core.runtime.stacks import collect

            folds = stacks.fold(collect(self._pids, self._seconds - MARGIN, self._stop))
            lines = stacks.brief(folds, MOST_LINES)
            path = self._write(stacks.lines(folds))
        finally:
            post(Looked(self._look.round, lines, path))

    def _write(self, found: list[str]) -> str:
        """The path of the file with these lines; empty where it cannot be written, which changes nothing."""
        if not self._folder:
            return ""
        path = os.path.join(self._folder, FILE)
        head = f"# {self._look.reason}; what the workers that still ran were doing before they were stopped"
        with suppress(OSError), open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write("\n".join([head, *found, ""]))
            return path
        return ""


def folder_of(dest: LogsDest) -> str:
    """The directory of a start's files, above those of its workers; empty when it has no files."""
    files = (*dest.error_files.values(), *dest.stdouts.values(), *dest.stderrs.values())
    folders = {os.path.dirname(path) for path in files if path and path != os.devnull}
    if not folders:
        return ""
    try:
        common = os.path.commonpath(folders)
    except ValueError:  # some are relative
        return ""
    return os.path.dirname(common) if len(folders) == 1 and os.path.basename(common).isdecimal() else common
