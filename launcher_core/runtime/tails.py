"""What the agent's main thread asks about worker output: descriptors for a start, last lines, a final drain.

A worker writes its files itself, through a descriptor opened here, so it is never slowed by who reads along.
Only a stderr that would go straight to the console passes through this process: its last lines are what the
report can show of a worker that recorded no exception.  Where the console is a terminal the worker is given
one too, so that progress bars draw.  What is written where is decided by the logs specs, not here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

from launcher_core.model.job import Streams
from launcher_core.model.logs import LogsDest
from launcher_core.rules.lines import last_lines
from launcher_core.runtime.console import Console
from launcher_core.runtime.follow import KEPT_BYTES, Capture, OutputThread, Tail
from launcher_core.runtime.terminal import is_terminal, open_like

EVERY_LINE = 1 << 30
TAIL_SECONDS = 0.2
"""How long `tail` waits for the last bytes of a pipe."""


class Output:
    """All output of one agent's workers, one start after the other. Called from one thread.

    For each start: `open`, start the workers, `started`; when they are gone `drain`. `close` at the end.
    With `report_lines` 0 a worker's stderr is left alone, and `tail` is empty. `stdout` and
    `stderr` are the objects that tee'd lines are shown on: by their descriptor where they have one, else as
    text.
    """

    def __init__(self, *, report_lines: int, stdout: Any, stderr: Any) -> None:
        self._report_lines = report_lines
        self._stdout = Console(stdout)
        self._stderr = Console(stderr)
        self._opening: _Opening | None = None
        self._thread: OutputThread | None = None
        self._following = False
        self._stderr_of: dict[int, _Kept] = {}

    def open(
        self,
        dest: LogsDest,
        prefixes: Mapping[int, bytes],
        local_ranks: Sequence[int],
        stdin: Mapping[int, int],
        *,
        stdout_filters: Sequence[str] = (),
        stderr_filters: Sequence[str] = (),
    ) -> dict[int, Streams]:
        """Descriptors for each worker of a start, by local rank; valid until `started`.

        `prefixes` is needed for tee'd ranks only; ranks that `stdin` leaves out read the launcher's own.
        Raises OSError when a file cannot be opened; nothing is left open then.
        """
        self.drain(0.0)
        opening = _Opening()
        try:
            opening.tail_files(dest.tee_stdouts, prefixes, self._stdout)
            opening.copy_filtered(dest.filtered_stdout, stdout_filters, tuple(opening.tails))
            shown = len(opening.tails)
            opening.tail_files(dest.tee_stderrs, prefixes, self._stderr)
            opening.copy_filtered(dest.filtered_stderr, stderr_filters, tuple(opening.tails[shown:]))
            streams = {}
            for rank in local_ranks:
                out = opening.file(dest.stdouts.get(rank, ""), 1)
                err = opening.stderr(rank, dest.stderrs.get(rank, ""), self._stderr, self._report_lines)
                streams[rank] = Streams(stdin.get(rank, 0), out, err)
        except BaseException:
            opening.abandon()
            raise
        self._opening = opening
        self._stderr_of = opening.stderr_of
        return streams

    def started(self) -> None:
        """Close this process's copies of what the workers write to, and begin to follow.

        Called when all workers of the start are there, and when starting them failed too.
        """
        opening, self._opening = self._opening, None
        if opening is None:
            return
        opening.close_child_ends()
        if not (opening.tails or opening.captures):
            opening.abandon()
            return
        if self._thread is None:
            self._thread = OutputThread((self._stdout, self._stderr))
        self._following = True
        thread = self._thread
        thread.ask(lambda: thread.follow(opening.tails, opening.captures, opening.copies))

    def tail(self, local_rank: int) -> str:
        """What is kept of the stderr of a worker that has exited: its last 64 KiB. Waits for it 0.2 s at most."""
        kept = self._stderr_of.get(local_rank)
        if self._report_lines <= 0 or kept is None:
            return ""
        if not isinstance(kept, Capture):
            return last_lines(_end_of_file(*kept), EVERY_LINE)
        if self._following and self._thread is not None and not kept.ended:
            self._thread.ask(lambda: kept.read_all(0.0)).wait(TAIL_SECONDS)
        return last_lines(bytes(kept.kept), EVERY_LINE)

    def heard(self, local_rank: int) -> float | None:
        """When this process last read something of a worker's stderr, by the monotonic clock; None where it reads none.

        From any thread."""
        kept = self._stderr_of.get(local_rank)
        return kept.heard if isinstance(kept, Capture) else None

    def said(self, local_rank: int) -> tuple[int, bytes]:
        """How many bytes of a worker's stderr this process has read, and the last of them; none where it reads none.

        From any thread."""
        kept = self._stderr_of.get(local_rank)
        while isinstance(kept, Capture):
            total, end = kept.total, bytes(kept.kept)
            if kept.total == total:
                return total, end
        return 0, b""

    def drain(self, timeout: float) -> bool:
        """Show all that the workers of this start, who are gone, have written; whether all of it is shown.

        Gives up waiting after `timeout` seconds; what is left is shown as soon as the console takes it. What
        else comes from a process that still holds a worker's stream is not shown any more.
        """
        thread = self._thread
        if thread is None or not self._following:
            return True
        self._following = False
        deadline = monotonic() + timeout
        return thread.ask(lambda: thread.finish(deadline)).wait(timeout)

    def close(self, patience: float | None = None) -> None:
        """Show what is left, end the thread and close every descriptor.

        Waits as long as the console takes something, and `patience` seconds for one that takes nothing: by default
        for ever, as any program waits for its reader. What was given up is finished by another call.
        """
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.abandon()
        self.drain(0.0)
        if self._thread is not None:
            self._thread.ask(self._thread.stop)
            if self._thread.join(patience):
                self._thread = None


_Kept = Capture | tuple[str, int]
"""Where the end of a worker's stderr is found: in a Capture, or in a file after a position."""


class _Opening:
    """Everything opened for one start, until the thread takes it over."""

    def __init__(self) -> None:
        self.tails: list[Tail] = []
        self.captures: list[Capture] = []
        self.copies: list[Console] = []
        self.stderr_of: dict[int, _Kept] = {}
        self._child_ends: list[int] = []

    def tail_files(self, paths: Mapping[int, str], prefixes: Mapping[int, bytes], console: Console) -> None:
        """Follow these files, shown on the console."""
        for rank, path in paths.items():
            if path != os.devnull:  # torch's logs specs name it for --log-dir /dev/null
                self.tails.append(Tail(path, prefixes[rank], console))

    def copy_filtered(self, path: str, needles: Sequence[str], tails: Sequence[Tail]) -> None:
        """Copy the lines of these tails that contain a needle to the file."""
        if not (path and needles) or path.startswith(os.devnull):
            return
        copy = Console(None, _open_to_append(path))
        self.copies.append(copy)
        wanted = [needle.encode("utf-8", "surrogateescape") for needle in needles]
        for tail in tails:
            tail.copy_matching(wanted, copy)

    def file(self, path: str, console_fd: int) -> int:
        """A descriptor that appends to the path; the console's when there is no path."""
        if not path:
            return console_fd
        self._child_ends.append(_open_to_append(path))
        return self._child_ends[-1]

    def stderr(self, rank: int, path: str, console: Console, report_lines: int) -> int:
        """A descriptor for a worker's stderr."""
        if path:
            fd = self.file(path, 2)
            self.stderr_of[rank] = (path, os.fstat(fd).st_size)
            return fd
        if report_lines <= 0:
            return 2
        terminal = is_terminal(console.fd)
        ours, theirs = open_like(console.fd) if terminal else os.pipe()
        self._child_ends.append(theirs)
        capture = Capture(ours, console, by_line=not terminal)
        self.captures.append(capture)
        self.stderr_of[rank] = capture
        return theirs

    def close_child_ends(self) -> None:
        """Close our copies of what the workers write to."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    def abandon(self) -> None:
        """Close everything."""
        self.close_child_ends()
        for group in (self.tails, self.captures, self.copies):
            for one in group:
                os.close(one.fd)


def _open_to_append(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)


def _end_of_file(path: str, start: int) -> bytes:
    """The last bytes of the file, none from before `start`; empty when it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - KEPT_BYTES))
            return file.read(KEPT_BYTES)
    except OSError:
        return b""
