"""What runs inside a function worker: the function, and how its end becomes an exit status and a value."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from launcher_core.runtime import system
from launcher_plugins.start_methods import parcel

TYPE_CHECKING = False  # not typing's: every worker would pay for that import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any, NoReturn

INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

ENTER = (
    "import pickle, sys; f = open(4, 'rb'); h = pickle.load(f); sys.path[:] = h['path']; "
    "from launcher_plugins.start_methods.{module} import main; main(f, h)"
)
"""The program of a new interpreter that was given a parcel: goes on in `main` of the module."""


class UnsendableValue(ValueError):
    """The function returned what cannot be sent to the launcher."""


def start_interpreter(module: str, fds: tuple[int, ...], env: Any, name: str) -> int:
    """The pid of a new interpreter, with this one's options, that runs `main` of a module beside this one.

    `fds` become its descriptors; number 4 is a parcel. `name` shows in the list of processes.
    """
    from multiprocessing import spawn, util

    python = os.fsdecode(spawn.get_executable())
    options: list[str] = util._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return system.spawn(python, [python, *options, "-c", ENTER.format(module=module), name], env, fds)


def main(file: IO[bytes], header: dict[str, Any]) -> NoReturn:
    """Run the parcel's function in this interpreter, which was started for it, and exit."""
    system.parent_death()(header["parent"])
    system.keep_from_children(parcel.RESULT)
    show_lines()
    code = 1
    try:
        code = wind_up(run(lambda: parcel.unpack(file), header["name"]))
    finally:
        os._exit(code)


def show_lines() -> None:
    """Have stdout written by whole lines, even into a file or a pipe that other workers write to."""
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def run(load: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]], name: str) -> int:
    """The exit status for the function that `load` gives; with status 0 its value is in the result file.

    An exception is recorded in the error file and shown on stderr, that of `load` too.
    """
    from launcher_core.worker.record import record

    def work() -> None:
        function, args = load()
        send(function(*args), name)

    work.__name__ = name  # the recorder is told it
    try:
        record(work)()
    except SystemExit as stop:
        return exit_status(stop.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException as error:
        show(error)
        return 1
    return 0


def wind_up(code: int) -> int:
    """The exit status, once this process's threads have ended, its exit handlers have run and its files are written.

    To be followed by os._exit: an interpreter that is torn down while a thread of a C++ library waits for it (torch's
    gloo has such threads) ends that thread, and thereby, before Python 3.14, aborts the process.
    """
    import atexit
    import threading

    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except Exception as error:  # a library's handler: as in any interpreter, it is shown, and changes no exit status
        show(error)
    atexit._run_exitfuncs()
    _write_files()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            code = code or 120  # as the interpreter itself does
    return code


def _write_files() -> None:
    # Only those of this process: in a fork, what the parent had opened is frozen, and thereby not found.
    import gc
    import io

    kinds = {io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom}
    standard = (sys.stdout, sys.stderr)
    for file in [thing for thing in gc.get_objects() if type(thing) in kinds and thing not in standard]:
        with suppress(OSError, ValueError):  # closed already, or nobody is left to tell
            file.flush()


def send(value: Any, name: str) -> None:
    """Write the value into the result file. Raises UnsendableValue when it cannot be pickled or written."""
    if value is None:
        return
    import pickle

    try:
        with open(parcel.RESULT, "wb", closefd=False) as file:
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # __reduce__ of a value may raise anything
        raise UnsendableValue(
            f"{name} returned a {type(value).__name__} that cannot be sent to the launcher: "
            f"{type(error).__name__}: {error}; return plain data, or nothing"
        ) from None


def exit_status(code: object) -> int:
    """The exit status that `sys.exit(code)` means; a text is written to stderr."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def show(error: BaseException) -> None:
    """Print the traceback from the user's first frame on: what was done here to get there says nothing."""
    from launcher_core.worker.error_file import without_our_frames

    trace = None if isinstance(error, UnsendableValue) else without_our_frames(error)
    error = error.with_traceback(trace)
    sys.excepthook(type(error), error, error.__traceback__)
