"""`python -m launcher_core`, and the console script: errors become one paragraph and an exit code here.

This is the only place that takes the process for its own: its signals, its standard streams, its place in a
container.
"""

from __future__ import annotations

import os
import sys


def console() -> None:
    """Run the command line of this process, and leave with its exit code; never returns.

    0 success; 1 the job failed; 2 the request cannot be carried out; 128+N stopped by signal N (or killed by it
    while there were no workers, which shells show as the same number). A traceback is shown only for what is a
    defect of the launcher or of a plugin.
    """
    try:
        _own_the_process()
    except KeyboardInterrupt:
        os._exit(130)
    from launcher_core.errors import LauncherError, SignalException

    code = 0
    try:
        from launcher_core.run import main

        main()
    except SystemExit as error:
        code = _status(error)
    except LauncherError as error:
        code = error.exit_code
        _complain(_words(error))
    except SignalException as error:
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    _leave(code)


def _own_the_process() -> None:
    """Let an interrupt end it at once, until there is something to stop; and give it standard streams."""
    import gc
    import signal

    gc.set_threshold(20_000)  # imports leave no garbage: to look for it so often is 5 % of a start
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        from launcher_core.runtime.init import leave_number_one

        leave_number_one()
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:  # closed: else the next thing that is opened would be taken for it, by workers too
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    _complain(str(error.code))
    return 1


def _words(error: Exception) -> str:
    from launcher_core.cli import say
    from launcher_core.errors import ChildFailedError

    if isinstance(error, ChildFailedError) or getattr(error, "case", None):
        return str(error)
    text = say.usage_error(error)
    return f"{text}; {say.DIRECTORY_IS_GONE}" if "no such" in text.lower() and _directory_is_gone() else text


def _directory_is_gone() -> bool:
    """Whether the working directory has been removed, so that no relative path leads anywhere."""
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _complain(text: str) -> None:
    from contextlib import suppress

    with suppress(OSError):  # there is nowhere else to say it; the exit code does
        print(text, file=sys.stderr)


def _leave(code: int) -> None:
    """End the process without tearing the interpreter down: everything has been closed, and it takes 10 ms."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 1
    os._exit(code)


if __name__ == "__main__":
    console()
