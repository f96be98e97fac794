"""A terminal and a person at it, for launches that are watched."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios

import pyte


class Terminal:
    """A terminal of 33 rows and 77 columns, and a person at it."""

    def __init__(self) -> None:
        self.person, self.line = os.openpty()
        fcntl.ioctl(self.line, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        self.shown = b""
        self.screen = pyte.HistoryScreen(77, 33, history=10_000)
        self._emulator = pyte.ByteStream(self.screen)

    def give(self) -> dict[str, object]:
        """How to start a process in the foreground of this terminal."""
        line = self.line
        streams = {"stdin": line, "stdout": line, "stderr": line}
        return {**streams, "start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(line, termios.TIOCSCTTY, 0)}

    def look(self) -> str:
        """All that has been shown."""
        while select.select([self.person], [], [], 0)[0]:
            data = os.read(self.person, 65536)
            self.shown += data
            self._emulator.feed(data)
        return self.shown.decode()

    def rows(self) -> list[str]:
        """What a person sees, from the top."""
        self.look()
        return [row.rstrip() for row in self.screen.display]

    def lines(self) -> list[str]:
        """What a person sees after scrolling back, and below."""
        rows = self.rows()
        above = ["".join(row[x].data for x in range(77)).rstrip() for row in self.screen.history.top]
        return [*above, *rows]

    def type(self, keys: bytes) -> None:
        os.write(self.person, keys)

    def close(self) -> None:
        os.close(self.person)
        os.close(self.line)
