"""Keeps event recorders from harming the job: each is called in a guard of its own.

A recorder is somebody else's code.  What it raises is told once, when it is given up; the job goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launcher_core.hooks.ports import Recorder
from launcher_core.model.record import Event

FAULTS_ALLOWED = 3


class Recording:
    """Gives every event to every recorder, in their order. Used by the agent's main thread only.

    `recorders` are (name, recorder) pairs; `tell` is given a sentence for people when one is given up.
    """

    def __init__(self, recorders: Sequence[tuple[str, Recorder]], tell: Callable[[str], None]) -> None:
        self._recorders = [_Guarded(name, recorder) for name, recorder in recorders]
        self._tell = tell

    @property
    def wants_detail(self) -> bool:
        """Whether there is a recorder for the launcher's own events."""
        return any(guarded.detailed for guarded in self._recorders)

    def record(self, event: Event, *, detail: bool = False) -> None:
        """Give the event to all recorders that are left; one that raises for the third time is dropped.

        One that is a `detail` goes to those only that want the launcher's own events, too.
        """
        for guarded in tuple(self._recorders):
            if detail and not guarded.detailed:
                continue
            error = guarded.fault(lambda recorder: recorder.record(event))
            if error is not None and guarded.faults >= FAULTS_ALLOWED:
                self._recorders.remove(guarded)
                self._tell(
                    f"event recorder {guarded.name!r} failed {guarded.faults} times and gets no more events; "
                    f"the last time with {_described(error)}"
                )
                guarded.fault(lambda recorder: recorder.close())

    def close(self) -> None:
        """Close all recorders; later events go nowhere."""
        closing, self._recorders = self._recorders, []
        for guarded in closing:
            error = guarded.fault(lambda recorder: recorder.close())
            if error is not None:
                self._tell(
                    f"event recorder {guarded.name!r} could not be closed, its last events may be lost: "
                    f"{_described(error)}"
                )


class _Guarded:
    """One recorder and how often it has failed."""

    __slots__ = ("detailed", "faults", "name", "recorder")

    def __init__(self, name: str, recorder: Recorder) -> None:
        self.name = name
        self.recorder = recorder
        self.detailed = bool(getattr(recorder, "detailed", False))
        self.faults = 0

    def fault(self, call: Callable[[Recorder], None]) -> Exception | None:
        """What the call raised, which is counted; None when it went well."""
        try:
            call(self.recorder)
        except Exception as error:  # a plugin may raise anything
            self.faults += 1
            return error
        return None


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
