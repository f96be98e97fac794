"""Makes nothing of what it is asked for: raises, leaves, or returns something else."""

import sys

from launcher_core import hookimpl


class Failing:
    """Implements every maker in one way. A starter would be asked for its capabilities first."""

    def __init__(self, fail):
        self._fail = fail

    @hookimpl
    def launcher_declare(self):
        return {"capabilities": ["COMMANDS"]}

    @hookimpl
    def launcher_make_rendezvous(self):
        return self._fail()

    @hookimpl
    def launcher_make_store(self):
        return self._fail()

    @hookimpl
    def launcher_make_logs_specs(self):
        return self._fail()

    @hookimpl
    def launcher_make_starter(self):
        return self._fail()

    @hookimpl
    def launcher_make_recorder(self):
        return self._fail()

    @hookimpl
    def launcher_make_watch(self):
        return self._fail()


def _raise(error):
    raise error


def _import_what_is_absent():
    import absent_dependency

    return absent_dependency


value_error = Failing(lambda: _raise(ValueError("the moon has the wrong phase; wait for the full one")))
os_error = Failing(lambda: _raise(PermissionError(13, "Permission denied", "/dev/moon")))
other_error = Failing(lambda: _raise(KeyError("phase")))
sys_exit = Failing(lambda: sys.exit(0))
lazily_dependent = Failing(_import_what_is_absent)
shapeless = Failing(dict)
