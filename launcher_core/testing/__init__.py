"""The conformance kit: what a plugin's author inherits to learn whether the plugin keeps its contract.

One class for each kind of plugin. Subclass it in a test module, give its one fixture, and pytest runs what it
inherits. The classes know the ports and nothing of the launcher's runtime; nothing in the launcher imports them.
pytest is needed for them and for nothing else: `pip install launcher-core[test]`.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "EventRecorderContract": "recorders",
    "LogsSpecsContract": "logs",
    "RendezvousBackendContract": "backends",
    "RendezvousHandlerContract": "handlers",
    "StartMethodContract": "start_methods",
    "StoreContract": "stores",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """The class of that name; its module, and pytest, are imported when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
