"""Reads along what workers write, as far as it comes to files or through the launcher, and looks for patterns in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import monotonic

from launcher_core.hooks.ports import Scene

MOST_BYTES = 1 << 20
"""Of one file at one look; what is more is skipped, its end is read."""
LONGEST_LINE = 1 << 16


class Pattern:
    """A regular expression that a line is searched for; matches nothing when it is empty."""

    def __init__(self, text: str) -> None:
        """Raises ValueError for a text that is none."""
        self.text = text
        try:
            self._found = re.compile(os.fsencode(text)) if text else None
        except re.error as error:
            raise ValueError(f"{text!r} is no regular expression: {error}") from error

    def __bool__(self) -> bool:
        return self._found is not None

    def matches(self, line: bytes) -> bool:
        """Whether it is in the line."""
        return self._found is not None and self._found.search(line) is not None


class Listener:
    """Listens to the workers of one start. `hit` is the first line with the bad pattern, and its rank."""

    def __init__(self, scene: Scene, bad: Pattern, good: Pattern) -> None:
        self._scene = scene
        self._bad, self._good = bad, good
        self._streams = [
            (local, _File(path)) for local in scene.ranks for path in _paths(scene, local)
        ]  # what is captured comes without a file
        self._captured = {local: _Captured() for local in scene.ranks}
        self.hit: tuple[int, str] | None = None
        self.good_at: float | None = None
        """When a line with the good pattern was read last; None before the first."""

    def listen(self) -> None:
        """Take in what is new."""
        for local, file in self._streams:
            self._judge(local, file.lines())
        for local, captured in self._captured.items():
            self._judge(local, captured.lines(*self._scene.said(local)))

    def _judge(self, local: int, lines: Iterator[bytes]) -> None:
        for line in lines:
            if self.hit is None and self._bad.matches(line):
                self.hit = (self._scene.ranks[local], line.decode("utf-8", "replace").strip()[:200])
            if self._good.matches(line):
                self.good_at = monotonic()


def _paths(scene: Scene, local: int) -> list[str]:
    both: tuple[Mapping[int, str], ...] = (scene.dest.stdouts, scene.dest.stderrs)
    return [path for paths in both if (path := paths.get(local, "")) and path != os.devnull]


class _Lines:
    """Bytes in, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes."""
        *lines, rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = rest[-LONGEST_LINE:]
        yield from (line for line in lines if line)


class _File:
    """A file that a worker appends to."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._position = 0
        self._lines = _Lines()

    def lines(self) -> Iterator[bytes]:
        """What is new."""
        with suppress(OSError), open(self._path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._position, size - MOST_BYTES))
            data = file.read(MOST_BYTES)
            self._position = file.tell()
            yield from self._lines.feed(data)


class _Captured:
    """A stderr that comes through the launcher, of which the end is kept."""

    def __init__(self) -> None:
        self._taken = 0
        self._lines = _Lines()

    def lines(self, total: int, end: bytes) -> Iterator[bytes]:
        """What is new in a stream of so many bytes that ends so."""
        new, self._taken = total - self._taken, total
        if new > 0:
            yield from self._lines.feed(end[-new:])
