"""`record`: a function whose uncaught exception is left in the worker's error file, for the launcher to read.

The outcomes are torch elastic's.  It says nothing by itself: no error file asked for means none is written,
and what cannot be written is a warning, never an exception that takes the place of the real one.
"""

from __future__ import annotations

import os

from launcher_core.worker import error_file

TYPE_CHECKING = False  # not typing's: importing typing costs more than everything else in this package
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")


class ErrorHandler:
    """Writes exceptions to the error file that the launcher asked for. Torch's shape; subclasses welcome."""

    def _get_error_file_path(self) -> str | None:
        """Where this process's error file goes; None when none is wanted."""
        return os.environ.get(error_file.VARIABLE) or None

    def set_entrypoint_fn_name(self, name: str | None) -> None:
        """Be told the name of the function that is about to run, before `initialize`. Does nothing here."""

    def initialize(self) -> None:
        """Have Python print its stacks when native code crashes; a warning when that is not possible.

        And offer them to the launcher that started this process, for when it asks.
        """
        import faulthandler

        from launcher_core.worker import stacks

        stacks.offer()

        try:
            faulthandler.enable(all_threads=True)
        except Exception as error:  # a replaced sys.stderr may raise anything from fileno()
            _warn(f"Python stacks will not be printed on a crash: {type(error).__name__}: {error}")

    def record_exception(self, error: BaseException) -> None:
        """Write the exception to the error file, if there is to be one. A failure to write is a warning."""
        import json
        import time

        path = self._get_error_file_path()
        if path:
            self._write_error_file(path, json.dumps(error_file.describe(error, time.time())))

    def record_success(self) -> None:
        """Be told that the function returned. Does nothing here; what an override raises is not recorded."""

    def override_error_code_in_rootcause_data(
        self, rootcause_error_file: str, rootcause_error: dict[str, Any], error_code: int = 0
    ) -> None:
        """Add the exit code to the record in place; the flat form has no room for one and stays as it is."""
        rootcause_error.update(error_file.with_error_code(rootcause_error, error_code))

    def dump_error_file(self, rootcause_error_file: str, error_code: int = 0) -> None:
        """Copy another process's error file to this one's, with that process's exit code.

        One that cannot be read is replaced by a record that says so; one that is gone leaves nothing.
        """
        import json

        path = self._get_error_file_path()
        found = error_file.read(rootcause_error_file)
        if not path or found is None:
            return
        data = found.data
        if found.problem:
            extra = {"py_callstack": "", "timestamp": str(found.timestamp)}
            data = {"message": {"message": found.problem, "extraInfo": extra}}
        self.override_error_code_in_rootcause_data(rootcause_error_file, data, error_code)
        self._write_error_file(path, json.dumps(data))

    def maybe_enrich_signal_failure_message(self, message: str, error_file: str) -> str:
        """The message for a worker that a signal ended; an override may know more. Unchanged here."""
        return message

    def _write_error_file(self, file_path: str, error_msg: str) -> None:
        try:
            error_file.write(file_path, error_msg)
        except OSError as error:
            _warn(f"cannot write the error file {file_path}: {error}; the report will lack this exception")


def get_error_handler() -> ErrorHandler:
    """A new ErrorHandler: what `record` uses when it is given none."""
    return ErrorHandler()


def record(fn: Callable[P, R], error_handler: ErrorHandler | None = None) -> Callable[P, R | None]:
    """The function, with an uncaught exception recorded before it goes on its way.

    SystemExit is not recorded: code 0 becomes a plain return of None, any other goes on.  A failed launch
    inside the function has its first failure's error file copied instead.  KeyboardInterrupt is not touched.
    """
    import functools

    handler = get_error_handler() if error_handler is None else error_handler

    @functools.wraps(fn)
    def recorded(*args: P.args, **kwargs: P.kwargs) -> R | None:
        _tell(handler, "set_entrypoint_fn_name", getattr(fn, "__name__", None))
        handler.initialize()
        try:
            value = fn(*args, **kwargs)
        except SystemExit as end:
            if end.code == 0:
                return None
            raise
        except Exception as error:
            _record(handler, error)
            raise
        _tell(handler, "record_success")
        return value

    return recorded


def _record(handler: ErrorHandler, error: Exception) -> None:
    # By its method, not by its class: a launch inside the worker may be ours or torch's own, and importing
    # either for the comparison would cost every worker that fails.
    first_failure = getattr(error, "get_first_failure", None)
    if first_failure is None:
        handler.record_exception(error)
        return
    _, failure = first_failure()
    if failure.error_file != error_file.NOT_AVAILABLE:
        handler.dump_error_file(failure.error_file, failure.exitcode)


def _tell(handler: ErrorHandler, hook: str, *args: object) -> None:
    """Call a hook that handlers written for torch before 2.15 do not have."""
    method = getattr(handler, hook, None)
    if method is not None:
        method(*args)


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=3)
