"""What a worker is born with, by all four start methods: nothing but what it was given."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher_core.hooks.ports import Starter
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system

sys.path.append(str(Path(__file__).parent))  # workers import the functions by name, as they would a user's
import started_functions as functions
import starting
from starting import (
    DEADLINE,
    ENV,
    Ended,
    call,
    dispose,
    for_all,
    for_commands,
    for_functions,
    sh,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)
starter = starting.starter


# --- what a worker is born with ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spawn"])
def test_spawn_has_the_environment_in_place_at_exec(starter: Starter) -> None:
    assert call(starter, functions.environment_at_exec).value == ENV


@for_functions
def test_a_function_leads_a_session_with_one_thread(starter: Starter) -> None:
    expected = {"leads its session": True, "leads its group": True, "threads": 1, "in its main thread": True}
    assert call(starter, functions.place).value == expected


@pytest.fixture
def leaky() -> Iterator[None]:
    """This process has descriptors that an exec passes on, as a careless parent leaves them."""
    ends = os.pipe()
    high = os.dup2(ends[0], 200, inheritable=True)
    os.set_inheritable(ends[0], True)
    yield
    for fd in (*ends, high):
        os.close(fd)


@for_functions
def test_a_function_inherits_no_descriptor_but_its_own_result(leaky: None, starter: Starter) -> None:
    assert call(starter, functions.descriptors).value == [3]
    assert call(starter, functions.inheritable_descriptors).value == []


@for_commands
def test_a_command_inherits_no_descriptor(leaky: None, starter: Starter) -> None:
    assert sh(starter, "ls /proc/$$/fd; true").out.split() == ["0", "1", "2"]


@pytest.fixture
def strange_signals() -> Iterator[socket.socket]:
    """This process ignores, blocks and handles signals; gives the socket that those it handles wake."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    old = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, lambda number, frame: None),
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    descriptor = signal.set_wakeup_fd(wake.fileno())
    yield woken
    signal.set_wakeup_fd(descriptor)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in old.items():
        signal.signal(number, handler)
    woken.close()
    wake.close()


@for_functions
def test_a_function_has_the_signals_of_a_fresh_interpreter(strange_signals: socket.socket, starter: Starter) -> None:
    ignored = {int(signal.SIGPIPE): str(signal.SIG_IGN), int(signal.SIGXFSZ): str(signal.SIG_IGN)}
    expected = {"not default": ignored, "interrupts": True, "blocked": set(), "wake-up descriptor": -1}
    assert call(starter, functions.signals).value == expected
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}


@for_functions
def test_a_signal_to_a_worker_never_wakes_the_launcher(strange_signals: socket.socket, starter: Starter) -> None:
    assert call(starter, functions.die, signal.SIGUSR1) == Ended(-signal.SIGUSR1, "", "", None)
    assert not system.wait_readable(strange_signals.fileno(), 0)


# --- streams -------------------------------------------------------------------------------------------


@for_functions
def test_a_functions_streams_are_those_given(starter: Starter) -> None:
    expected = Ended(0, "to stdout\nstraight to 1\nan unfinished line", "to stderr\n", None)
    assert call(starter, functions.speak) == expected


@for_functions
def test_a_line_is_in_the_pipe_when_it_was_printed(starter: Starter) -> None:
    reading, writing = os.pipe()
    their_input, our_end = os.pipe()
    command = Command(function=functions.say_and_wait, args=("here",))
    child = starter.start(command, ENV, Streams(their_input, writing, 2))
    try:
        assert system.wait_readable(reading, DEADLINE)
        assert os.read(reading, 100) == b"here\n"
        os.write(our_end, b"go on\n")
        assert wait_for(child) == 0
    finally:
        dispose(child)
        for fd in (reading, writing, their_input, our_end):
            os.close(fd)


@for_all
def test_crossed_streams_arrive_where_they_should(starter: Starter, method: str) -> None:
    numbers = [os.dup(fd) for fd in (0, 1, 2)]
    files = [system.anonymous_file(name) for name in ("one", "two")]
    try:
        os.dup2(files[0], 2)
        os.dup2(files[1], 1)
        command = Command(
            argv=("/bin/sh", "-c", "echo to stdout; echo to stderr >&2"),
            function=None if method == "exec" else functions.speak,
        )
        child = starter.start(command, ENV, Streams(0, 2, 1))
        try:
            assert wait_for(child) == 0
        finally:
            dispose(child)
    finally:
        for number, fd in enumerate(numbers):
            os.dup2(fd, number)
            os.close(fd)
    texts = [os.pread(fd, 1000, 0).splitlines()[0] for fd in files]
    for fd in files:
        os.close(fd)
    assert texts == [b"to stdout", b"to stderr"]
