"""What is done about the notice of a preemption before the workers are stopped, and the file that is such a notice.

Imported when a notice has come, or is to be looked for. Nothing here is waited for longer than the rules say.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from signal import SIGKILL
from typing import TYPE_CHECKING, Any

from launcher_core.model.news import Notice
from launcher_core.rules.steps import Preempted, Warned

if TYPE_CHECKING:
    import subprocess

VARIABLE = "LAUNCHER_PREEMPTED"
"""Tells the command of --on-preempt where the preemption comes from."""
END_SECONDS = 0.5
LOOK_EVERY = 1.0
"""Seconds between two looks for a file: of what another machine writes inotify hears nothing."""


class Errands:
    """Runs the policies' hooks and the user's command, in a thread, and posts Warned."""

    def __init__(self, hooks: Callable[[str, float], list[str]], command: str, mark: Mapping[str, str]) -> None:
        """`hooks` says what went wrong; `mark` has the command found when this process is killed."""
        self._hooks = hooks
        self._command = command
        self._mark = mark
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, notice: str, seconds: float, post: Callable[[Any], None]) -> None:
        """Run them; they have so many seconds."""
        thread = threading.Thread(target=self._run, args=(notice, seconds, post), name="launcher-preempt", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no thread can be had
            post(Warned())

    def hurry(self) -> None:
        """The workers are asked to stop: nothing changes for what still runs."""

    def close(self) -> None:
        """End the command, should it still run; a hook cannot be ended, and is not waited for."""
        self._over.set()
        if self._process is not None and self._process.poll() is None:
            with suppress(OSError):
                os.killpg(self._process.pid, SIGKILL)
            self._process.wait()

    def _run(self, notice: str, seconds: float, post: Callable[[Any], None]) -> None:
        try:
            for fault in self._hooks(notice, seconds):
                post(Notice(fault))
            if self._command and not self._over.is_set():
                self._run_command(notice, post)
        finally:
            post(Warned())

    def _run_command(self, notice: str, post: Callable[[Any], None]) -> None:
        import subprocess

        env = {**os.environ, **self._mark, VARIABLE: notice}
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", self._command], stdin=subprocess.DEVNULL, env=env, start_new_session=True
            )
        except OSError as error:
            post(Notice(f"--on-preempt={self._command!r}: {error.strerror}"))
            return
        code = self._process.wait()
        if code and not self._over.is_set():
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            post(Notice(f"--on-preempt={self._command!r} ended with {how}"))


class PreemptFile:
    """Looks for a file that appears, or is written again, in a thread, and posts Preempted once."""

    def __init__(self, path: str, post: Callable[[Any], None]) -> None:
        self._path = os.path.abspath(path)
        self._post = post
        self._before = stamp(self._path)
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="launcher-preempt-file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        os.close(self._write)
        self._thread.join(END_SECONDS)
        os.close(self._read)

    def _run(self) -> None:
        inotify: Any = None
        with suppress(OSError):
            from launcher_core.runtime.inotify import APPEARED, Inotify

            inotify = Inotify()
            inotify.watch(os.path.dirname(self._path), APPEARED)
        wake = [self._read, *([inotify.fd] if inotify is not None else [])]
        try:
            while stamp(self._path) in (None, self._before):
                ready, _, _ = select.select(wake, [], [], LOOK_EVERY)
                if self._read in ready:
                    return
                if ready:
                    inotify.changed()
            self._post(Preempted(f"there is a file {self._path} (--preempt-file)"))
        finally:
            if inotify is not None:
                inotify.close()


def stamp(path: str) -> tuple[int, int, int] | None:
    """What tells this file from one that is written later; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
