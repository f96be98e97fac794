"""The places that worker output is copied to: the launcher's own stdout and stderr, and filtered files.

Writing may block for as long as nobody reads; the output thread alone calls `flush`.  A place that has gone
away (a closed pipe, a hung-up terminal, a full disk) is not written to any more, and nobody is told: the
worker's own files and the job do not depend on it.
"""

from __future__ import annotations

import io
import os
from typing import Any

ENOUGH_TO_WRITE = 64 * 1024
ENOUGH_PIECES = 512  # the kernel takes 1024 at once


_WRITES = (io.TextIOWrapper.write, io.BufferedWriter.write, io.BufferedRandom.write, io.FileIO.write)
"""What writes to a descriptor without looking at it: Python's own files, and what derives from them without a word."""


class Console:
    """A destination for bytes, written in batches.

    `fd` is where they go, or -1 when `stream` is no plain file and is given text instead. `taken` counts the
    bytes that the destination took.
    """

    __slots__ = ("_gone", "_pending", "_size", "_stream", "fd", "taken")

    def __init__(self, stream: Any, fd: int | None = None) -> None:
        self._stream = stream
        self.fd = _descriptor(stream) if fd is None else fd
        self.taken = 0
        self._gone = stream is None and fd is None
        self._pending: list[bytes | memoryview] = []
        self._size = 0

    def add(self, *pieces: bytes | memoryview) -> None:
        """Take bytes to be written, one piece after the other; writes when it has got many."""
        self._pending += pieces
        self._size += sum(map(len, pieces))
        if self._size >= ENOUGH_TO_WRITE or len(self._pending) >= ENOUGH_PIECES:
            self.flush()

    def flush(self) -> None:
        """Write what was added. Blocks while the destination takes nothing."""
        if not self._size:
            return
        pieces, self._pending = self._pending, []
        self._size = 0
        if self._gone:
            return
        try:
            self._write(pieces)
        except Exception:  # the stream is the caller's object: it may raise anything
            self._gone = True

    def _write(self, pieces: list[bytes | memoryview]) -> None:
        if self.fd < 0:
            data = b"".join(pieces)
            self._stream.write(data.decode("utf-8", "replace"))
            self.taken += len(data)
        if self._stream is not None and hasattr(self._stream, "flush"):
            self._stream.flush()  # what the launcher itself printed before comes first
        if self.fd >= 0:
            self._write_bytes(pieces)

    def _write_bytes(self, pieces: list[bytes | memoryview]) -> None:
        while pieces:
            try:
                count = os.writev(self.fd, pieces)
            except BlockingIOError:  # somebody who shares the terminal made it non-blocking
                _wait_until_writable(self.fd)
                continue
            self.taken += count
            pieces = _after(count, pieces)


def _descriptor(stream: Any) -> int:
    """The descriptor that the stream's text goes to as it is, -1 when it has none.

    What somebody wrote in Python may say one and send text elsewhere: a notebook's stdout does.
    """
    if getattr(type(stream), "write", None) not in _WRITES:
        return -1
    try:
        fd = stream.fileno()
    except (AttributeError, OSError, ValueError):  # over a thing without it; in memory; closed
        return -1
    return fd if isinstance(fd, int) else -1


def _after(count: int, pieces: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """What is left of the pieces after so many bytes."""
    for number, piece in enumerate(pieces):
        if count < len(piece):
            return [memoryview(piece)[count:], *pieces[number + 1 :]]
        count -= len(piece)
    return []


def _wait_until_writable(fd: int) -> None:
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
