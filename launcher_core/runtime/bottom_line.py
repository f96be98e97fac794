"""One line at the bottom of a terminal that others write to, and that is gone without a trace at the end.

The terminal is told to scroll all rows but the last, so what workers print moves above the line and never through it.
Nothing is shown to a terminal that this process is not in the foreground of, or that is too small.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress

AFTER_SECONDS = 2.0
"""What is over by then needs no line."""
EVERY_SECONDS = 1.0
LEAST_ROWS = 8
LEAST_COLUMNS = 20
CLOSE_SECONDS = 1.0
"""How long a terminal that takes nothing is waited for."""

Size = tuple[int, int]


def reserve(size: Size) -> str:
    """Have the last of so many (columns, rows) never scroll; the cursor stays at its text."""
    return f"\x1bD\x1b[A\x1b7\x1b[1;{size[1] - 1}r\x1b8"


def draw(size: Size, text: str) -> str:
    """Write the text, cut to the width, in the last row."""
    return f"\x1b7\x1b[{size[1]};1H\x1b[2K\x1b[7m{text[: size[0] - 1]}\x1b[m\x1b8"


def release(size: Size) -> str:
    """Have all rows scroll again, and wipe the last."""
    return f"\x1b7\x1b[r\x1b[{size[1]};1H\x1b[2K\x1b8"


class BottomLine:
    """Shows a text that changes. A context manager: the line comes some time after it begins, and ends with it."""

    def __init__(self, fd: int, text: Callable[[], str], after: float = AFTER_SECONDS) -> None:
        """`text` is called once a second, by a thread of its own; "" takes the line away."""
        self._fd = fd
        self._text = text
        self._after = after
        self._over = threading.Event()
        self._size: Size | None = None
        self._thread = threading.Thread(target=self._run, name="status line", daemon=True)

    def __enter__(self) -> BottomLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        with suppress(OSError):  # the terminal is gone
            pause = self._after
            while not self._over.wait(pause):
                pause = EVERY_SECONDS
                self._show(self._text(), self._room())
            self._show("", None)

    def _room(self) -> Size | None:
        """The terminal's size; None where the line must not be shown."""
        size = os.get_terminal_size(self._fd)
        if size.columns < LEAST_COLUMNS or size.lines < LEAST_ROWS or os.tcgetpgrp(self._fd) != os.getpgrp():
            return None
        return size.columns, size.lines

    def _show(self, text: str, size: Size | None) -> None:
        wanted = size if text else None
        words = ""
        if self._size is not None and wanted != self._size:
            words += release(self._size)
        if wanted is not None:
            words += (reserve(wanted) if wanted != self._size else "") + draw(wanted, text)
        self._size = wanted
        if words:
            os.write(self._fd, words.encode("utf-8", "replace"))
