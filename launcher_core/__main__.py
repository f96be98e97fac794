"""`python -m launcher_core`, and the console script: errors become one paragraph and an exit code here."""

from __future__ import annotations

import os
import sys


def console() -> None:
    """Run the command line of this process, and leave with its exit code; never returns.

    0 success; 1 the job failed; 2 the request cannot be carried out; 128+N stopped by signal N. A traceback is
    shown only for what is a defect of the launcher or of a plugin.
    """
    from launcher_core.errors import LauncherError, SignalException

    code = 0
    try:
        from launcher_core.run import main

        main()
    except SystemExit as error:
        code = _status(error)
    except LauncherError as error:
        code = error.exit_code
        print(_words(error), file=sys.stderr)
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


def _status(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    print(error.code, file=sys.stderr)
    return 1


def _words(error: Exception) -> str:
    from launcher_core.cli import say
    from launcher_core.errors import ChildFailedError

    return str(error) if isinstance(error, ChildFailedError) else say.usage_error(error)


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
