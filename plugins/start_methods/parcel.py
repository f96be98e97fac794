"""A function with its arguments, packed for another interpreter: by pickle, as multiprocessing does it.

Objects of multiprocessing (queues, locks, connections, shared memory) can be among the arguments; the
descriptors they need go along. Packed and unpacked on one machine, by one user, in a file without a path.
"""

from __future__ import annotations

import os
import sys

from launcher_core.runtime import system

TYPE_CHECKING = False  # not typing's: every worker would pay for that import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO, Any

    from launcher_core.model.job import Command

RESULT, PARCEL, PASSED = 3, 4, 5
"""Descriptors in a worker: where its value goes, this parcel, and the first of those that arguments need."""


class _Passing:
    """Stands where multiprocessing looks for the process being started, and collects what it wants passed."""

    def __init__(self) -> None:
        from multiprocessing.popen_spawn_posix import Popen

        self.DupFd = Popen.DupFd
        self.fds: list[int] = []

    def duplicate_for_child(self, fd: int) -> int:
        """The number that the descriptor will have in the worker."""
        self.fds.append(fd)
        return PASSED + len(self.fds) - 1


def wanted(command: Command, method: str) -> Callable[..., Any]:
    """The command's function; raises ValueError when it has none."""
    if command.function is None:
        name = command.name or " ".join(command.argv)
        raise ValueError(f"start method {method} starts Python functions, and {name!r} is a command: use exec")
    return command.function


def pack_header(name: str, env: Mapping[str, str] | None = None) -> int:
    """A new file with what an interpreter needs first of all: import path, parent, name, environment, CPUs."""
    import pickle

    fd = system.anonymous_file("parcel")
    path = [entry for entry in sys.path if isinstance(entry, str)]
    header = {
        "path": path,
        "parent": os.getpid(),
        "name": name,
        "env": None if env is None else dict(env),
        "cpus": system.cpus(),
    }
    with open(fd, "wb", closefd=False) as file:
        pickle.dump(header, file)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def pack(command: Command, method: str, env: Mapping[str, str] | None = None) -> tuple[int, ...]:
    """A new file with the header, and the command's function and arguments; behind it what is to be passed.

    The descriptors that arguments need belong to them, and are not to be closed.
    Raises ValueError when there is no function, or when something cannot be pickled.
    """
    function = wanted(command, method)
    _refuse_interactive(function, method)
    fd = pack_header(name_of(function), env)
    try:
        passed = _pack_function(function, command, method, fd)
        os.lseek(fd, 0, os.SEEK_SET)  # the worker shares the position
    except BaseException:
        os.close(fd)
        raise
    return fd, *passed


def _pack_function(function: Callable[..., Any], command: Command, method: str, fd: int) -> tuple[int, ...]:
    from multiprocessing import context

    passing = _Passing()
    tracker = tracker_fd()
    with open(fd, "ab", closefd=False) as file:
        context.set_spawning_popen(passing)  # type: ignore[arg-type]
        try:
            import multiprocessing.reduction as reduction

            reduction.dump(_preparation(function, command), file)
            reduction.dump(None if tracker is None else passing.duplicate_for_child(tracker), file)
            reduction.dump((function, command.args), file)
        except OSError:
            raise
        except Exception as error:  # __reduce__ of an argument may raise anything
            raise ValueError(_unpicklable(function, method, error)) from error
        finally:
            context.set_spawning_popen(None)
    return tuple(passing.fds)


def _preparation(function: Callable[..., Any], command: Command) -> dict[str, Any]:
    """What multiprocessing would tell a new interpreter: import path, arguments, and the main module."""
    from multiprocessing import spawn

    data: dict[str, Any] = spawn.get_preparation_data(command.name or name_of(function))
    if (getattr(function, "__module__", None) or "").partition(".")[0] == "launcher_core":
        # Ours need nothing of the main module, which is the launcher's: every worker is spared that import.
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    return data


def tracker_fd() -> int | None:
    """The pipe to multiprocessing's resource tracker, if this process runs one: workers are to share it.

    Else a worker that attaches to shared memory would start its own, which removes the memory at its end.
    """
    module = sys.modules.get("multiprocessing.resource_tracker")
    fd = None if module is None else module._resource_tracker._fd
    return fd if fd is not None and system.is_open(fd) else None


def use_tracker(fd: int | None) -> None:
    """Have multiprocessing use the launching process's resource tracker, whose pipe is descriptor `fd`."""
    if fd is not None:
        from multiprocessing import resource_tracker

        resource_tracker._resource_tracker._fd = fd  # type: ignore[attr-defined]


def unpack(file: IO[bytes]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function and its arguments, the interpreter prepared for them. `file` is read behind the header."""
    import pickle
    from multiprocessing import process, spawn

    current: Any = process.current_process()
    current._inheriting = True  # so that a main module without a guard fails instead of launching again
    try:
        spawn.prepare(pickle.load(file))
        use_tracker(pickle.load(file))
        function, args = pickle.load(file)
    finally:
        del current._inheriting
        file.close()
    return function, args


def name_of(function: Callable[..., Any]) -> str:
    """What to call it by in a text."""
    return getattr(function, "__qualname__", None) or repr(function)


def _unpicklable(function: Callable[..., Any], method: str, error: Exception) -> str:
    import pickle

    what = f"an argument of {name_of(function)}"
    try:
        pickle.dumps(function)
    except Exception:
        what = f"the function {name_of(function)}"
    return (
        f"start method {method} cannot send {what} to a worker: {type(error).__name__}: {error}; "
        "define functions and classes at the top level of a module, or use start method fork"
    )


def refuse_unguarded() -> None:
    """Raise ValueError in a worker that is still importing its main module, and launches again by that."""
    from multiprocessing import process

    if getattr(process.current_process(), "_inheriting", False):
        raise ValueError(
            "a worker launched again while it imported its main module; put the launch, and whatever else is "
            'for the launching process alone, under `if __name__ == "__main__":`'
        )


def _refuse_interactive(function: Callable[..., Any], method: str) -> None:
    main = sys.modules["__main__"]
    importable = getattr(main, "__spec__", None) is not None or hasattr(main, "__file__")
    if getattr(function, "__module__", None) == "__main__" and not importable:
        raise ValueError(
            f"start method {method} cannot send the function {name_of(function)} to a worker: it was defined "
            "in an interactive session, which a new interpreter cannot import; put it into a module, or use "
            "start method fork"
        )
