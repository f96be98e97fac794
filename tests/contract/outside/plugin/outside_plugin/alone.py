"""Rendezvous `outside-alone`: a job of one node, as a handler of torch elastic's shape. Notes every call but polls."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from launcher_core import hookimpl
from outside_plugin.calls import note

KEYS = {
    "port": "the MASTER_PORT of the workers (0)",
    "raise": "the name of an exception that next_rendezvous raises",
    "shutdown": "the name of an exception that shutdown raises",
}


@hookimpl
def launcher_declare():
    """A dict says what a Declaration would."""
    return {"keys": KEYS}


@hookimpl
def launcher_make_rendezvous(params):
    """Asks for one argument of the two."""
    return Alone(params)


class RendezvousGracefulExitError(Exception):
    """Named as torch elastic's, which is how the launcher knows it."""


class RendezvousClosedError(Exception):
    """Likewise."""


ERRORS = {
    "graceful": RendezvousGracefulExitError,
    "closed": RendezvousClosedError,
    "os": OSError,
    "other": RuntimeError,
}


class Alone:
    """A RendezvousHandler by shape alone."""

    use_agent_store = False

    def __init__(self, params):
        self._params = params

    def get_backend(self):
        return self._params.backend

    def get_run_id(self):
        return self._params.run_id

    def is_closed(self):
        return False

    def set_closed(self):
        note("set_closed", threading.current_thread().name)

    def num_nodes_waiting(self):
        return 0

    def next_rendezvous(self):
        note("next_rendezvous", threading.current_thread().name)
        self._raise("raise", "nobody came")
        where = SimpleNamespace(master_addr="127.0.0.1", master_port=self._params.get_as_int("port", 0))
        return SimpleNamespace(store=None, rank=0, world_size=1, bootstrap_store_info=where)

    def shutdown(self):
        note("shutdown", threading.current_thread().name)
        self._raise("shutdown", "the door is stuck")
        return True

    def _raise(self, key, text):
        name = self._params.get(key)
        if name:
            raise ERRORS[name](text)


class Sharing:
    """Rendezvous `outside-sharing`: is given the store that `--rdzv-conf store=` names, and only looks at it."""

    @hookimpl
    def launcher_declare(self):
        return {"capabilities": ["SHARES_STORE"]}

    @hookimpl
    def launcher_make_rendezvous(self, store, params):
        note("store", callable(store.serve), callable(store.connect))
        return Alone(params)


sharing = Sharing()
