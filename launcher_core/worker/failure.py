"""`ProcessFailure`: one failed worker, as torch elastic's users know it, and the few facts torch lacks.

Reading the worker's error file happens here, once, and cannot fail: a file that makes no sense becomes a
message that says so.
"""

from __future__ import annotations

from launcher_core.worker.error_file import NOT_AVAILABLE, read

TYPE_CHECKING = False  # not typing's: importing typing costs more than everything else in this package
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class ProcessFailure:
    """A worker that failed. The first four arguments and the fields computed from them are torch elastic's.

    Torch's: `error_file_data` is the JSON object of the error file; `message` its object form, its text, or a
    sentence about the exit code; `timestamp` whole seconds.
    Ours: `at` is the wall-clock time in seconds, with fractions, when it failed: when its error file was
    written, else when the launcher saw it end (the argument `at`; by default now); `stderr_tail` is the end
    of what it wrote to stderr; `stopped` says that the launcher had told it to stop; `problem` is what is
    wrong with its error file, in words.
    """

    out_of_memory = False
    """Whether the kernel has told that it killed processes for want of memory, and SIGKILL ended this one."""

    explanation = ""
    """What the launcher knows of its end, in words."""

    def __init__(
        self,
        local_rank: int,
        pid: int,
        exitcode: int,
        error_file: str,
        *,
        at: float | None = None,
        stderr_tail: str = "",
        stopped: bool = False,
    ) -> None:
        self.local_rank = local_rank
        self.pid = pid
        self.exitcode = exitcode
        self.error_file = error_file
        self.error_file_data: dict[str, Any] = {"message": "<NONE>"}
        self.message: Mapping[str, Any] | str = ""
        self.stderr_tail = stderr_tail
        self.stopped = stopped
        self.problem = ""
        self.at = _now() if at is None else at
        self.timestamp = int(self.at)
        self._take_error_file()
        if not self.message:
            self._explain_exit_code()

    def _take_error_file(self) -> None:
        """Take over what the worker recorded, if anything."""
        found = read(self.error_file)
        if found is None:
            self.error_file = NOT_AVAILABLE
            return
        # A worker cannot write after its end: a later time is another machine's clock (a shared file system).
        self.at = min(found.at, self.at)
        self.timestamp = found.timestamp
        self.problem = found.problem
        if not found.problem:
            self.error_file_data = found.data
            self.message = found.message

    def _explain_exit_code(self) -> None:
        """Fill `message` where the worker left none."""
        unrecorded = f"; {self.problem}" if self.problem else ", without recording an exception"
        if self.exitcode < 0:
            name = self.signal_name()
            known = "" if name == NOT_AVAILABLE else f" ({name})"
            message = f"process {self.pid} was ended by signal {-self.exitcode}{known}{unrecorded}"
            self.message = self._enriched(message)
            return
        self.message = f"process {self.pid} ended with exit code {self.exitcode}{unrecorded}"
        # torch elastic marks these in its events, and readers of events select on it
        traits = {"category": "system_terminated_error", "retryability": "False"}
        self.error_file_data = {**self.error_file_data, "errorTraits": traits}

    def _enriched(self, message: str) -> str:
        """What the error handler makes of a signal's message; a warning when it raises."""
        from launcher_core.worker.record import get_error_handler

        try:
            return get_error_handler().maybe_enrich_signal_failure_message(message, self.error_file)
        except Exception as error:  # an installed handler is foreign code, and the report must go on
            import warnings

            warnings.warn(
                f"the error handler could not explain a signal: {type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )
            return message

    def signal_name(self) -> str:
        """The name of the signal that ended it, "<N/A>" when none did or it has no name of its own."""
        if self.exitcode >= 0:
            return NOT_AVAILABLE
        import signal

        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return NOT_AVAILABLE

    def timestamp_isoformat(self) -> str:
        """`timestamp` in local time, YYYY-MM-DD_HH:MM:SS."""
        import time

        try:
            moment = time.localtime(self.timestamp)
        except (OverflowError, OSError, ValueError):  # a record may claim any year
            moment = time.localtime(self.at)
        return time.strftime("%Y-%m-%d_%H:%M:%S", moment)

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, ProcessFailure) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.local_rank, self.pid, self.exitcode))

    def __repr__(self) -> str:
        return (
            f"ProcessFailure(local_rank={self.local_rank}, pid={self.pid}, exitcode={self.exitcode}, "
            f"error_file={self.error_file!r}, at={self.at!r}, stopped={self.stopped}, "
            f"message={self.message!r})"
        )


def _now() -> float:
    import time

    return time.time()
