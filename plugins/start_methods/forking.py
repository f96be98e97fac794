"""A worker forked from a running interpreter, which may have threads: set up, and never back in its caller.

Between the fork and the worker's function nothing is imported and no lock is taken that another thread may
have held at that moment; what the child needs is imported before.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from launcher_core.runtime import system
from launcher_plugins.start_methods import bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TextIO


READY_WITHIN = 30.0
"""Seconds. It takes a child a millisecond or two."""
_READY = b"\n"


class Setup(NamedTuple):
    """What the child is to be: its descriptors, its environment, and what it runs for its exit status."""

    fds: Sequence[int]
    env: Mapping[str, str]
    run: Callable[[], int]


def fork(setup: Setup) -> int:
    """The pid of a new child that is set up: it leads its own session already.

    Raises OSError when it cannot be forked or set up; nothing is left of it then.
    """
    _import_what_the_child_needs()
    parent, die_with = os.getpid(), system.parent_death()
    ready, report = os.pipe()
    # A handler that ran in the child would act as the parent, and write to the parent's wake-up descriptor.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = _fork()
        if pid == 0:
            _live(setup, parent, report, die_with)
        os.close(report)
        report = -1
        _await(pid, ready)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for fd in (ready, report):
            if fd >= 0:
                os.close(fd)


def _fork() -> int:
    with warnings.catch_warnings():
        # Python 3.12 warns of any fork with threads; this module is made for them.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _await(pid: int, ready: int) -> None:
    """Return when the child is set up, or has ended; else end it and raise OSError with its reason."""
    if not system.wait_readable(ready, READY_WITHIN):
        problem = f"it was not ready within {READY_WITHIN:g} seconds"
    else:
        problem = os.read(ready, 4096).removeprefix(_READY).decode()
    if problem:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise OSError(f"a forked worker could not be set up: {problem}")


def _import_what_the_child_needs() -> None:
    import atexit
    import fcntl
    import pickle
    import threading

    from launcher_core.worker import record

    del atexit, fcntl, pickle, threading, record


def _live(setup: Setup, parent: int, report: int, die_with: Callable[[int], None]) -> NoReturn:
    code = 1
    try:
        gc.freeze()  # the parent's garbage may own descriptors, whose numbers will soon be another's
        try:
            os.setsid()
            system.place_descriptors((*setup.fds, report))
            report = len(setup.fds)
            system.reset_signals()
            die_with(parent)
            _kept = _forget_the_parent(setup.env)
        except BaseException as error:
            os.write(report, f"{type(error).__name__}: {error}".encode())
            raise
        os.write(report, _READY)
        os.close(report)
        code = bootstrap.wind_up(setup.run())
    finally:
        os._exit(code)


def _forget_the_parent(env: Mapping[str, str]) -> object:
    """Leave behind what was the parent's: environment, streams, exit handlers. To be kept: the old streams.

    They hold what the parent had not written yet, and would write it when they are let go of.
    """
    import atexit

    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    os.environ.update({name: value for name, value in env.items() if os.environ.get(name) != value})
    atexit._clear()
    if "faulthandler" in sys.modules:
        sys.modules["faulthandler"].disable()  # else it takes its handlers, which are gone, to be in place
    _forget_executors()
    _forget_multiprocessing()
    return _open_streams()


def _forget_executors() -> None:
    # Their threads are not in this process, but for the one that forked, if it is theirs: this worker's end would wait
    # for itself, and wake the others up by descriptors that are closed.
    for module, threads in (("thread", "_threads_queues"), ("process", "_threads_wakeups")):
        executors = sys.modules.get(f"concurrent.futures.{module}")
        if executors is not None:
            getattr(executors, threads).clear()


def _forget_multiprocessing() -> None:
    # What its own children do first (in a method that would take away stdin); else this worker's end would
    # terminate the parent's daemonic children, and its helpers would be looked for at closed descriptors.
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    import atexit

    util._finalizer_registry.clear()
    util._run_after_forkers()
    sys.modules["multiprocessing.process"]._children.clear()
    for name, helper in (("resource_tracker", "_resource_tracker"), ("forkserver", "_forkserver")):
        module = sys.modules.get(f"multiprocessing.{name}")
        if module is not None:
            getattr(module, helper).__init__()
    atexit.register(util._exit_function)


def _open_streams() -> object:
    old = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    sys.stdin = sys.__stdin__ = _stream(0, "r", sys.__stdin__)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", sys.__stdout__)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", sys.__stderr__)  # type: ignore[misc]
    return old


def _stream(fd: int, mode: str, old: TextIO | None) -> Any:
    encoding, errors = ("utf-8", None) if old is None else (old.encoding, old.errors)
    return open(fd, mode, buffering=1, encoding=encoding, errors=errors, closefd=False)
