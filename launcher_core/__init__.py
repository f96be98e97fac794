"""An elastic launcher for distributed programs. The public names, imported when they are first used."""

from __future__ import annotations

__version__ = "0.1.0"

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
