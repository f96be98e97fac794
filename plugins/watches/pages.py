"""Reads the pages into which workers write their heartbeats (`launcher_core.worker.beats`)."""

from __future__ import annotations

import os
from contextlib import suppress

from launcher_core.rules.heartbeat import Beat
from launcher_core.worker.beats import FILE, LAYOUT, SIZE

TRIES = 3


class Page:
    """The page of one worker, found when it is there. `close` when the worker is gone."""

    def __init__(self) -> None:
        self._fd = -1
        self._link = ""

    def read(self, *pids: int) -> Beat:
        """What the first of these processes that has a page says; a Beat of nothing where there is none."""
        if self._fd >= 0 and not self._is_there():
            self.close()
        if self._fd < 0 and not any(self._find(pid) for pid in dict.fromkeys(pids)):
            return Beat()
        for _ in range(TRIES):
            beat = self._read()
            if beat is not None:
                return beat
        return Beat()

    def close(self) -> None:
        """Let go of the page."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Beat | None:
        """The page's content; None while it is being changed."""
        data = os.pread(self._fd, SIZE, 0)
        if len(data) < SIZE:
            return None
        version, at, number, since, timeout, length = LAYOUT.unpack_from(data)
        if version != 1 or number % 2 or not 0 <= length <= SIZE - LAYOUT.size:
            return None
        name = data[LAYOUT.size : LAYOUT.size + length].decode("utf-8", "replace")
        return Beat(at, name if since else "", since, timeout if since and timeout >= 0 else None)

    def _find(self, pid: int) -> bool:
        with suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                link = f"/proc/{pid}/fd/{name}"
                with suppress(OSError):
                    if os.readlink(link).startswith(f"/memfd:{FILE} "):
                        self._fd, self._link = os.open(link, os.O_RDONLY | os.O_CLOEXEC), link
                        return True
        return False

    def _is_there(self) -> bool:
        """Whether the process still has that page: not if it has ended, or has become another program."""
        try:
            return os.stat(self._link).st_ino == os.fstat(self._fd).st_ino
        except OSError:
            return False
