"""Signals as events. The handlers do nothing: the number travels through the wake-up descriptor.

What was there before is put back when the launch ends. In a thread that is not the main one no handler can be
installed; the launch then runs without, and whoever owns the process decides what signals mean.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import Any

from launcher_core.rules.supervise import Signalled
from launcher_core.runtime.loop import Loop


class Signals:
    """A context in which the given signals become Signalled events of the loop."""

    def __init__(self, signums: Iterable[int], loop: Loop) -> None:
        self._signums = frozenset(signums)
        self._loop = loop
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._loop.on_byte = self._event
        self._wakeup_before = signal.set_wakeup_fd(self._loop.wake_fd, warn_on_full_buffer=False)
        for signum in self._signums:
            self._before[signum] = signal.signal(signum, _nothing)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        if threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._wakeup_before)

    def _event(self, byte: int) -> Signalled | None:
        return Signalled(byte) if byte in self._signums else None


def _nothing(signum: int, frame: FrameType | None) -> None:
    """The signal's number is already in the wake-up descriptor."""
