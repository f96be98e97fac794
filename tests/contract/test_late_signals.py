"""Signals that come when the loop listens no more: each means to the process what it did before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from launcher_core.runtime.loop import Loop
from launcher_core.runtime.signals import Signals, unharmed_by


class Heard(Exception):
    """What a handler of the surrounding program raises."""


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that the surrounding program was told of; SIGUSR1 has it raise."""
    told: list[int] = []

    def handler(signum: int, _: object) -> None:
        told.append(signum)
        if signum == signal.SIGUSR1:
            raise Heard

    before = {each: signal.signal(each, handler) for each in (signal.SIGUSR1, signal.SIGUSR2)}
    yield told
    for each, old in before.items():
        signal.signal(each, old)


def late(*signums: int) -> None:
    loop = Loop()
    try:
        with Signals({signal.SIGUSR1, signal.SIGUSR2}, loop):
            for signum in signums:
                os.kill(os.getpid(), signum)
    finally:
        loop.close()


@pytest.mark.parametrize("order", [(signal.SIGUSR1, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGUSR1)])
def test_a_handler_that_raises_does_not_swallow_the_other_signal(heard, order):
    with pytest.raises(Heard):
        late(*order)
    signal.pthread_sigmask(signal.SIG_BLOCK, ())  # whatever has come is heard here

    assert sorted(heard) == [signal.SIGUSR1, signal.SIGUSR2]


def test_a_signal_that_came_twice_is_heard_once(heard):
    with pytest.raises(Heard):
        late(signal.SIGUSR1, signal.SIGUSR1)

    assert heard == [signal.SIGUSR1]


def test_the_mask_is_what_it_was_before_even_if_a_handler_raises(heard):
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with pytest.raises(Heard):
        late(signal.SIGUSR1)

    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_one_that_was_for_the_workers_ends_nothing_however_late_it_comes():
    with unharmed_by({signal.SIGUSR1}):
        os.kill(os.getpid(), signal.SIGUSR1)
        loop = Loop()
        with Signals({signal.SIGTERM}, loop, {signal.SIGUSR1}):
            os.kill(os.getpid(), signal.SIGUSR1)
        loop.close()
        os.kill(os.getpid(), signal.SIGUSR1)

    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


def test_one_that_was_for_the_workers_and_came_too_late_is_heard_by_a_program_that_has_a_handler(heard):
    with unharmed_by({signal.SIGUSR2}):
        loop = Loop()
        with Signals({signal.SIGTERM}, loop, {signal.SIGUSR2}):
            os.kill(os.getpid(), signal.SIGUSR2)
        loop.close()

    assert heard == [signal.SIGUSR2]


def test_a_signal_that_was_blocked_before_is_pending_after(heard):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        late(signal.SIGUSR2)
        assert (heard, signal.SIGUSR2 in signal.sigpending()) == ([], True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert heard == [signal.SIGUSR2]
