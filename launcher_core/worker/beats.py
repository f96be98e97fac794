"""A worker's signs of life: `heartbeat()` where it gets on, `section(name, timeout)` around what takes its own time.

Outside of a launch both cost next to nothing and do nothing. In a launch a heartbeat writes the time into one page of
memory that the launcher reads through /proc/PID/fd: no message, no system call, no path, and gone with the process. A
fork shares the page, and speaks for the worker; a program that the worker executes has none until it beats itself.
The launcher looks at it beside all else that it can see (`--hang-timeout`); who never beat is not judged by it.
"""

from __future__ import annotations

import os
from struct import Struct
from time import monotonic

TYPE_CHECKING = False  # not typing's: every worker would pay for that import
if TYPE_CHECKING:
    from mmap import mmap

FILE = "launcher-heartbeat"
"""The name by which the page is known in /proc/PID/fd."""
SIZE = 256
AGENT = "LAUNCHER_AGENT"
"""The variable that tells a worker that it is one."""
LAYOUT = Struct("<QdQddH")
"""Version 1; when it beat last; number of changes to what follows, odd while one is made; when it came into the
section, 0 for none; how long that may take, less than 0 for ever; bytes of its name, which come next. Times are
monotonic."""
_AT = 8
_beat = Struct("<d").pack_into
_SECTION = Struct("<QddH")
_NUMBER = Struct("<Q")

_page: mmap | bytearray | None = None
_open: list[section] = []


def heartbeat() -> None:
    """Tell the launcher that this worker gets on. May be called as often as one likes: it takes less than 1 us."""
    _beat(_page or _open_page(), _AT, monotonic())


class section:
    """`with section("checkpoint", timeout=600):` no heartbeat is expected inside, but its end after so many seconds.

    `timeout` None is for ever. Of sections within sections the one that must end first is looked at. Leaving one is a
    heartbeat.
    """

    def __init__(self, name: str, timeout: float | None) -> None:
        if timeout is not None and not 0 < timeout < float("inf"):
            raise ValueError(f"section({name!r}, timeout={timeout}): write seconds, more than 0, or None")
        self.name = name
        self.timeout = timeout
        self.since = 0.0

    def __enter__(self) -> section:
        self.since = monotonic()
        _open.append(self)
        _show()
        return self

    def __exit__(self, *_: object) -> None:
        _open.remove(self)
        _show()
        heartbeat()

    @property
    def until(self) -> float:
        """When it must be over."""
        return float("inf") if self.timeout is None else self.since + self.timeout


def _show() -> None:
    """Write down which section must end first."""
    page = _page or _open_page()
    number = LAYOUT.unpack_from(page)[2] | 1
    _NUMBER.pack_into(page, 16, number)
    first = min(tuple(_open), key=lambda one: one.until, default=None)
    if first is None:
        _SECTION.pack_into(page, 16, number, 0.0, 0.0, 0)
    else:
        name = first.name.encode("utf-8", "replace")[: SIZE - LAYOUT.size]
        timeout = -1.0 if first.timeout is None else first.timeout
        _SECTION.pack_into(page, 16, number, first.since, timeout, len(name))
        page[LAYOUT.size : LAYOUT.size + len(name)] = name
    _NUMBER.pack_into(page, 16, number + 1)


def _open_page() -> mmap | bytearray:
    """The page: shared with the launcher in a launch, else this process's own, which nobody reads."""
    global _page
    if AGENT in os.environ and hasattr(os, "memfd_create"):
        import mmap

        try:
            file = os.memfd_create(FILE)
            try:
                os.ftruncate(file, SIZE)
                _page = mmap.mmap(file, SIZE)  # which keeps a descriptor of its own
            finally:
                os.close(file)
        except OSError:  # no descriptor is left, or no memory: it does without
            _page = bytearray(SIZE)
    else:
        _page = bytearray(SIZE)
    LAYOUT.pack_into(_page, 0, 1, 0.0, 0, 0.0, 0.0, 0)
    return _page
