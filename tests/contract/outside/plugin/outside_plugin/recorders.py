"""Recorders that import nothing of the launcher: pluggy's marker, with the launcher's project name, is enough."""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("launcher")


class Maker:
    """A plugin that is an object: it makes recorders of one class."""

    def __init__(self, recorder):
        self._recorder = recorder

    @hookimpl
    def launcher_make_recorder(self, argument):
        if not argument:
            raise ValueError("name the file to write to: outside-lines=PATH")
        return self._recorder(argument)


class Lines:
    """Writes source and state of each event to a file."""

    def __init__(self, path):
        self._file = open(path, "a")  # noqa: SIM115

    def record(self, event):
        fields = [event.source.value, event.metadata["state"]]
        if event.metadata["raw_error"]:
            fields.append(event.metadata["raw_error"])
        print(*fields, file=self._file, flush=True)

    def close(self):
        self._file.close()


class Raising(Lines):
    """Fails at every event."""

    def record(self, event):
        super().record(event)
        raise RuntimeError("the collector is full")


class ClosingBadly(Lines):
    """Fails at the end."""

    def close(self):
        super().close()
        raise RuntimeError("the collector does not answer")


lines = Maker(Lines)
raising = Maker(Raising)
closing_badly = Maker(ClosingBadly)
