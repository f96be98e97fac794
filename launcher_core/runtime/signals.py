"""Signals as events. The handlers do nothing: the number travels through the wake-up descriptor.

What was there before is put back when the launch ends. In a thread that is not the main one no handler can be
installed; the launch then runs without, and whoever owns the process decides what signals mean.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from launcher_core.errors import UsageError
from launcher_core.rules.steps import Forwarded, Preempted, Signalled
from launcher_core.runtime import system
from launcher_core.runtime.loop import Loop


class Signals:
    """A context in which the given signals become Signalled events of the loop, even where they were blocked.

    Those of `forwarded` become Forwarded events in the same way, those of `preempting` Preempted events.
    One that comes too late to be heard by the loop is raised again when it means to this process what it did before;
    of several each is, once.
    An ignored SIGHUP stays ignored unless it is among the last two, that is what nohup is for. An ignored SIGCHLD
    does not: the kernel would forget how workers ended. Entering raises UsageError where that cannot be changed.
    The KeyboardInterrupt of a SIGINT that is not among them is raised by the loop's wait, and nowhere else: in the
    midst of a start it would lose the worker that was just started.
    """

    def __init__(
        self, signums: Iterable[int], loop: Loop, forwarded: Iterable[int] = (), preempting: Iterable[int] = ()
    ) -> None:
        self._signums = frozenset(signums)
        self._forwarded = frozenset(forwarded)
        self._preempting = frozenset(preempting)
        self._wanted = self._forwarded | self._preempting
        self._handled = {*self._signums, *self._wanted}
        self._loop = loop
        self._before: dict[int, Any] = {}
        self._blocked: set[Any] | None = None
        self._wakeup_before = -1

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            _require_exit_statuses()
            return self
        self._loop.on_byte = self._event
        self._wakeup_before = signal.set_wakeup_fd(self._loop.wake_fd, warn_on_full_buffer=False)
        before = signal.getsignal(signal.SIGCHLD)
        if system.keep_exit_statuses():
            self._before[signal.SIGCHLD] = before
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN and signal.SIGHUP not in self._wanted:
            self._handled.discard(signal.SIGHUP)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._handled.add(signal.SIGINT)
        for signum in self._handled:
            self._before[signum] = signal.signal(signum, _nothing)
        self._blocked = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signums | self._wanted)
        return self

    def __exit__(self, *_: object) -> None:
        if self._blocked is None:
            return
        self._loop.on_byte = Signalled
        signal.pthread_sigmask(signal.SIG_BLOCK, self._handled)  # until their handlers are back
        late = [event.signum for event in self._loop.unheard() if isinstance(event, Signalled)]
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(self._wakeup_before)
        before, self._blocked = self._blocked, None
        for signum in late:
            if signum in self._handled:
                signal.raise_signal(signum)
            else:
                self._pass_on(signum)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # all are heard, even if the handler of one raises

    def _event(self, byte: int) -> Signalled | Forwarded | Preempted | None:
        if byte in self._signums:
            return Signalled(byte)
        if byte in self._forwarded:
            return Forwarded(byte)
        if byte in self._preempting:
            return Preempted(f"{signal.Signals(byte).name} came (--preempt-signal)")
        if byte in self._handled:
            raise KeyboardInterrupt
        self._pass_on(byte)
        return None

    def _pass_on(self, byte: int) -> None:
        """Wake up whoever had the wake-up descriptor before, e.g. an asyncio loop around this launch."""
        if self._wakeup_before >= 0:
            with suppress(OSError):
                os.write(self._wakeup_before, bytes((byte,)))


@contextmanager
def unharmed_by(signums: Iterable[int]) -> Iterator[None]:
    """A context in which these signals do not end this process before and after its workers' time, nor at its end.

    Where this process has handlers of its own they stay. In a thread that is not the main one nothing changes.
    """
    ends = (signal.SIG_DFL, signal.default_int_handler)
    is_main = threading.current_thread() is threading.main_thread()
    before = {signum: signal.getsignal(signum) for signum in signums if is_main}
    harmful = [signum for signum, handler in before.items() if handler in ends]
    for signum in harmful:
        signal.signal(signum, _nothing)
    try:
        yield
    finally:
        for signum in harmful:
            signal.signal(signum, before[signum])


def _nothing(signum: int, frame: FrameType | None) -> None:
    """The signal's number is already in the wake-up descriptor, if anybody wants to know it."""


def _require_exit_statuses() -> None:
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        raise UsageError(
            "this process ignores SIGCHLD, so nobody would know how workers end, and only its main thread can "
            "change that; call signal.signal(signal.SIGCHLD, signal.SIG_DFL) there, or launch from there"
        )
