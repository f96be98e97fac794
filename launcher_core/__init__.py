"""An elastic launcher for distributed programs. The public names, imported when they are first used."""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # the checker knows it by its name; importing typing would cost every worker milliseconds
if TYPE_CHECKING:
    from launcher_core.errors import ChildFailedError as ChildFailedError
    from launcher_core.errors import SignalException as SignalException
    from launcher_core.hooks.ports import Declaration as Declaration
    from launcher_core.hooks.ports import LogsSpecs as LogsSpecs
    from launcher_core.hooks.ports import RendezvousBackend as RendezvousBackend
    from launcher_core.hooks.ports import RendezvousHandler as RendezvousHandler
    from launcher_core.hooks.ports import RendezvousInfo as RendezvousInfo
    from launcher_core.hooks.ports import RendezvousStoreInfo as RendezvousStoreInfo
    from launcher_core.hooks.specs import hookimpl as hookimpl
    from launcher_core.launch import elastic_launch as elastic_launch
    from launcher_core.model.capability import Capability as Capability
    from launcher_core.model.job import RunResult as RunResult
    from launcher_core.model.job import WorkerState as WorkerState
    from launcher_core.model.logs import LogsDest as LogsDest
    from launcher_core.model.logs import Std as Std
    from launcher_core.model.record import Event as Event
    from launcher_core.model.record import EventSource as EventSource
    from launcher_core.model.settings import LaunchConfig as LaunchConfig
    from launcher_core.model.settings import LogsConfig as LogsConfig
    from launcher_core.model.settings import RendezvousParameters as RendezvousParameters
    from launcher_core.worker.failure import ProcessFailure as ProcessFailure
    from launcher_core.worker.record import record as record

_HOME = {
    "LaunchConfig": "launcher_core.model.settings",
    "LogsConfig": "launcher_core.model.settings",
    "RendezvousParameters": "launcher_core.model.settings",
    "Std": "launcher_core.model.logs",
    "LogsDest": "launcher_core.model.logs",
    "Event": "launcher_core.model.record",
    "EventSource": "launcher_core.model.record",
    "RunResult": "launcher_core.model.job",
    "WorkerState": "launcher_core.model.job",
    "Capability": "launcher_core.model.capability",
    "LogsSpecs": "launcher_core.hooks.ports",
    "RendezvousHandler": "launcher_core.hooks.ports",
    "RendezvousBackend": "launcher_core.hooks.ports",
    "RendezvousInfo": "launcher_core.hooks.ports",
    "RendezvousStoreInfo": "launcher_core.hooks.ports",
    "Declaration": "launcher_core.hooks.ports",
    "hookimpl": "launcher_core.hooks.specs",
    "record": "launcher_core.worker.record",
    "ProcessFailure": "launcher_core.worker.failure",
    "ChildFailedError": "launcher_core.errors",
    "SignalException": "launcher_core.errors",
    "elastic_launch": "launcher_core.launch",
    "DefaultLogsSpecs": "launcher_core.launch",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
