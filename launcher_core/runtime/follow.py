"""The output thread: follows workers' files and pipes, and writes what it reads to the console.

One thread and one selector for all workers of a start.  It sleeps until something was written: files are
watched by inotify, with a look every 20 ms where there is none.  It alone writes to the console, so only it
waits when nobody reads.  It refuses to judge: what is shown is decided by rules.lines.
"""

from __future__ import annotations

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from launcher_core.rules.lines import Lines, matching, prefixed
from launcher_core.runtime.console import Console
from launcher_core.runtime.terminal import copy_size

if TYPE_CHECKING:
    from launcher_core.runtime.inotify import Inotify

READ_BYTES = 64 * 1024
KEPT_BYTES = 64 * 1024
"""How much of the end of a worker's stderr is kept for the report."""
PACE_SECONDS = 0.005
"""Files that are written all the time are read this often, so that many lines are one write."""
HOLD_SECONDS = 0.04
"""How long the beginning of a line on stderr waits for the rest of it."""
POLL_SECONDS = 0.02
MANY_READS = 64
"""More than a full pipe or terminal holds: what was there when the reading began has been read."""


class Tail:
    """Follows one file that a worker appends to, from its present end on."""

    __slots__ = ("_copy", "_needles", "_position", "console", "fd", "lines", "path", "prefix")

    def __init__(self, path: str, prefix: bytes, console: Console) -> None:
        self.path = path
        self.prefix = prefix
        self.console = console
        self.lines = Lines()
        self._copy: Console | None = None
        self._needles: Sequence[bytes] = ()
        self.fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._position = os.lseek(self.fd, 0, os.SEEK_END)

    def copy_matching(self, needles: Sequence[bytes], copy: Console) -> None:
        """From now on write lines that contain a needle to `copy` too."""
        self._needles = needles
        self._copy = copy

    def read(self, now: float) -> bool:
        """Show what one read gives; whether there may be more."""
        chunk = os.read(self.fd, READ_BYTES)
        self._position += len(chunk)
        if chunk:
            self.show(self.lines.feed(chunk, now))
        return len(chunk) == READ_BYTES

    def show(self, block: bytes) -> None:
        """Add a block of whole lines to the console, and to the copy what belongs there."""
        if not block:
            return
        self.console.add(*prefixed(block, self.prefix))
        if self._copy is not None:
            self._copy.add(*prefixed(matching(block, self._needles), self.prefix))

    def finish(self, now: float) -> None:
        """Show all that the file holds at this moment, and the last line as it is."""
        size = os.fstat(self.fd).st_size
        before = -1
        while before < self._position < size:
            before = self._position
            self.read(now)
        self.show(self.lines.end())


class Capture:
    """Copies what comes through a pipe or pseudo-terminal to the console unchanged, and keeps its end.

    `by_line`: the beginning of a line waits for its end, `HOLD_SECONDS` at most (`due` is when it is shown as it
    is), so that workers do not tear each other's lines. On a terminal nothing waits: bars draw, prompts show, and
    the worker's terminal is kept at the console's size.
    """

    __slots__ = ("_by_line", "_decoder", "_held", "console", "due", "ended", "fd", "heard", "kept", "total")

    def __init__(self, fd: int, console: Console, *, by_line: bool = False) -> None:
        self.fd = fd
        self.console = console
        self.ended = False
        self.due: float | None = None
        self._by_line = by_line
        self._held = b""
        self.kept = bytearray()
        self.total = 0
        """Bytes that came so far."""
        self.heard: float | None = None
        """When something came last, by the monotonic clock."""
        self._decoder = None if console.fd >= 0 else _utf8_decoder()
        os.set_blocking(fd, False)

    def read(self) -> bool:
        """Copy what one read gives; False when nothing is there now."""
        try:
            chunk = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last holder of the terminal's other end is gone
            chunk = b""
        if not chunk:
            self.ended = True
            self.show_held()
            return False
        self.kept += chunk
        self.total += len(chunk)
        self.heard = monotonic()
        if len(self.kept) > 2 * KEPT_BYTES:
            del self.kept[:-KEPT_BYTES]
        self._pass_on(chunk)
        return True

    def show_held(self) -> None:
        """Show the beginning of a line without waiting for its end any longer."""
        held, self._held, self.due = self._held, b"", None
        self._show(held)

    def _pass_on(self, chunk: bytes) -> None:
        if not self._by_line:
            copy_size(self.console.fd, self.fd)  # before it is seen: the next state of a bar fits
            self._show(chunk)
            return
        data = self._held + chunk
        cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if len(data) - cut > READ_BYTES:
            cut = len(data)
        if cut:
            self.due = None
            self._show(data[:cut])
        self._held = data[cut:]
        if self._held and self.due is None:
            self.due = monotonic() + HOLD_SECONDS

    def _show(self, data: bytes) -> None:
        # a stream of text gets whole characters: what ends inside of one waits for the rest
        if data:
            self.console.add(self._decoder(data).encode() if self._decoder else data)

    def read_all(self, deadline: float) -> None:
        """Copy everything that is there now; a writer that never pauses is left at the deadline."""
        reads = 0
        while not self.ended and self.read():
            reads += 1
            if reads >= MANY_READS and monotonic() >= deadline:
                return


class OutputThread:
    """The thread. Other threads call `ask`, `running` and `join`; everything else happens inside of it."""

    def __init__(self, consoles: Sequence[Console]) -> None:
        self._consoles = consoles
        self._tails: Sequence[Tail] = ()
        self._captures: list[Capture] = []
        self._copies: Sequence[Console] = ()
        self._watched: dict[int, list[Tail]] = {}
        self._inotify: Inotify | None = None
        self._unread: set[Tail] = set()
        self._look_at: float | None = None
        self._stopped = False
        self._asked: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._woken)
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    # --- called by other threads

    def ask(self, act: Callable[[], None]) -> threading.Event:
        """Have the thread call `act`; the event is set when it has."""
        done = threading.Event()
        self._asked.append((act, done))
        with suppress(BlockingIOError):  # as many wake-ups as a pipe holds are under way already
            os.write(self._wake_out, b"\0")
        return done

    def running(self) -> bool:
        """Whether the thread has not ended."""
        return self._thread.is_alive()

    def join(self, patience: float | None) -> bool:
        """Wait for the thread after `stop` was asked of it; False when the console takes nothing any more.

        Gives up when nothing was written for `patience` seconds, where that is given: the thread stays, blocked,
        and so do its descriptors.
        """
        taken = -1
        while self.running() and taken != self._taken():
            taken = self._taken()
            self._thread.join(patience)
        if self.running():
            return False
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)
        return True

    # --- asked of the thread

    def follow(self, tails: Sequence[Tail], captures: Sequence[Capture], copies: Sequence[Console]) -> None:
        """Begin with the streams of one start; those of the start before have been finished."""
        self._tails, self._copies = tails, copies
        self._captures = list(captures)
        for capture in captures:
            self._selector.register(capture.fd, selectors.EVENT_READ, partial(self._copy, capture))
        if tails:
            self._unread.update(tails)
            self._watch()

    def finish(self, deadline: float) -> None:
        """Show everything that the workers, who are gone, left to read; close it all."""
        for capture in tuple(self._captures):
            capture.read_all(deadline)
            capture.show_held()
            self._end(capture)
        for tail in self._tails:
            _unless_unreadable(tail.finish, monotonic())
            os.close(tail.fd)
        self._stop_watching()
        self._flush()
        for copy in self._copies:
            os.close(copy.fd)
        self._tails, self._copies = (), ()
        self._unread.clear()

    def stop(self) -> None:
        """End the thread."""
        self._stopped = True

    # --- the loop

    def _run(self) -> None:
        try:
            while not self._stopped:
                for key, _ in self._selector.select(self._patience()):
                    key.data()
                self._read_files(monotonic())
                self._answer()
                self._flush()
        finally:
            for capture in tuple(self._captures):  # after a defect: a worker must not wait for us for ever
                self._end(capture)
            self._answer()

    def _patience(self) -> float | None:
        if self._unread:
            return 0.0
        times = [*(tail.lines.due for tail in self._tails), *(capture.due for capture in self._captures)]
        soonest = min((at for at in (*times, self._look_at) if at is not None), default=None)
        return None if soonest is None else max(0.0, soonest - monotonic())

    def _woken(self) -> None:
        os.read(self._wake_in, READ_BYTES)

    def _answer(self) -> None:
        while self._asked:
            act, done = self._asked.popleft()
            try:
                act()
            finally:
                done.set()

    def _flush(self) -> None:
        for console in (*self._consoles, *self._copies):
            console.flush()

    def _taken(self) -> int:
        return sum(console.taken for console in self._consoles)

    def _copy(self, capture: Capture) -> None:
        capture.read()
        if capture.ended:
            self._end(capture)

    def _end(self, capture: Capture) -> None:
        if capture in self._captures:
            self._captures.remove(capture)
            self._selector.unregister(capture.fd)
            os.close(capture.fd)
            capture.ended = True

    def _read_files(self, now: float) -> None:
        if self._look_at is not None and now >= self._look_at:
            self._look(now)
        for tail in tuple(self._unread):
            if not _unless_unreadable(tail.read, now):
                self._unread.discard(tail)
        for tail in self._tails:
            if tail.lines.due is not None and tail not in self._unread:
                tail.show(tail.lines.tick(now))
        for capture in self._captures:
            if capture.due is not None and now >= capture.due:
                capture.show_held()

    # --- when to look at files

    def _watch(self) -> None:
        from launcher_core.runtime.inotify import Inotify

        try:
            self._inotify = Inotify()
            for tail in self._tails:
                self._watched.setdefault(self._inotify.watch(tail.path), []).append(tail)
        except OSError:
            self._stop_watching()
            self._look_at = monotonic()
        else:
            self._selector.register(self._inotify.fd, selectors.EVENT_READ, self._changed)

    def _changed(self) -> None:
        assert self._inotify is not None
        for number in self._inotify.changed():
            self._unread.update(self._watched.get(number, self._tails))
        # the next notice may wait: what is written meanwhile is read in one go
        self._selector.unregister(self._inotify.fd)
        self._look_at = monotonic() + PACE_SECONDS

    def _look(self, now: float) -> None:
        if self._inotify is not None:
            self._selector.register(self._inotify.fd, selectors.EVENT_READ, self._changed)
            self._look_at = None
        else:
            self._unread.update(self._tails)
            self._look_at = now + POLL_SECONDS

    def _stop_watching(self) -> None:
        if self._inotify is not None:
            if self._inotify.fd in self._selector.get_map():
                self._selector.unregister(self._inotify.fd)
            self._inotify.close()
        self._inotify = None
        self._watched = {}
        self._look_at = None


def _unless_unreadable(act: Callable[[float], bool | None], now: float) -> bool:
    """What `act` says; False when its file cannot be read."""
    try:
        return bool(act(now))
    except OSError:
        return False


def _utf8_decoder() -> Callable[[bytes], str]:
    import codecs

    return codecs.getincrementaldecoder("utf-8")("replace").decode
