"""The recorder that `--event-log-handler prometheus=...` names: metrics for Prometheus.

`prometheus=textfile:PATH` keeps a file for node_exporter and needs nothing installed; `prometheus=[HOST]:PORT` serves
a page, with prometheus_client (extra `prometheus`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from time import time
from typing import Any

from launcher_core.errors import UsageError
from launcher_core.hooks.ports import Recorder
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event
from launcher_core.rules.timeline import Ledger, moment
from launcher_plugins.event_recorders.figures import Family, families

FLAG = "--event-log-handler prometheus"
TEXTFILE = "textfile:"
AFRESH_SECONDS = 15.0
"""The textfile is written so often when nothing happens: time passes, and a file that is old tells of a dead agent."""


@hookimpl
def launcher_make_recorder(argument: str | None) -> Recorder:
    """A recorder that keeps a file, or serves a page. Raises UsageError, and OSError when either is impossible."""
    ways = "write prometheus=textfile:PATH, or prometheus=[HOST]:PORT, e.g. prometheus=:9400"
    if not argument:
        raise UsageError(f"{FLAG}: it has to be told where metrics go; {ways}")
    if argument.startswith(TEXTFILE):
        path = argument.removeprefix(TEXTFILE)
        if not path.endswith(".prom"):
            raise UsageError(f"{FLAG}={argument!r}: node_exporter reads files that end with .prom only")
        return TextfileRecorder(path)
    host, colon, port = argument.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{FLAG}={argument!r}: this is no address; {ways}")
    return PageRecorder(host.strip("[]") or "0.0.0.0", int(port))


class Metrics:
    """The figures of a launch, for any thread."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._labels: dict[str, str] = {}

    def take(self, event: Event) -> bool:
        """Count an event; whether there is something new to be shown. After STARTED, RUNNING follows at once."""
        told = moment(event)
        if told is None:
            return False
        with self._lock:
            if told.state == "BEGUN":
                self._labels = {"run_id": str(told.facts.get("run_id")), "agent": str(told.facts.get("agent_pid"))}
            self._ledger.take(event)
        return told.state != "STARTED"

    def collect(self) -> list[Family]:
        """The metrics as they are now, each sample with the labels of this launch."""
        with self._lock:
            labels, found = self._labels, families(self._ledger, int(time() * 1e6))
        return [
            one._replace(samples=tuple((end, {**own, **labels}, value) for end, own, value in one.samples))
            for one in found
        ]


class TextfileRecorder:
    """Replaces one file, whole, after each event and every few seconds. It stays when the launch is over."""

    detailed = True

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._next = f"{self._path}.{os.getpid()}"
        self._metrics = Metrics()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        self._write()
        self._thread = threading.Thread(target=self._keep_fresh, name="prometheus textfile", daemon=True)
        self._thread.start()

    def record(self, event: Event) -> None:
        """Count the event, and write the file. Raises OSError."""
        if self._metrics.take(event):
            self._write()

    def close(self) -> None:
        """Write the file for the last time. Raises OSError."""
        self._closing.set()
        self._thread.join()
        self._write()

    def _keep_fresh(self) -> None:
        while not self._closing.wait(AFRESH_SECONDS):
            try:
                self._write()
            except OSError:
                continue  # the next event's write says so

    def _write(self) -> None:
        with self._writing:
            text = page(self._metrics.collect())
            try:
                with open(self._next, "w", encoding="utf-8") as file:
                    file.write(text)
                os.replace(self._next, self._path)
            except OSError as error:
                what = f"metrics file {self._path!r} cannot be written: {error.strerror}"
                raise type(error)(f"{what}; name another one with {FLAG}=textfile:PATH") from error


class PageRecorder:
    """Serves the page from a thread of its own until it is closed."""

    detailed = True

    def __init__(self, host: str, port: int) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ModuleNotFoundError as error:
            raise UsageError(
                f"{FLAG}=:{port} needs {error.name}, which is not installed: pip install 'launcher-core[prometheus]'; "
                "prometheus=textfile:PATH needs nothing"
            ) from error
        self._metrics = Metrics()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            what = f"metrics cannot be served at {host}:{port}: {error.strerror}"
            raise type(error)(f"{what}; name another address with {FLAG}=HOST:PORT") from error
        self.port = int(self._server.server_port)

    def record(self, event: Event) -> None:
        """Count the event."""
        self._metrics.take(event)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def describe(self) -> list[Any]:
        """Nothing: prometheus_client then does not ask for the metrics before there are any."""
        return []

    def collect(self) -> Iterator[Any]:
        """The metrics, in the shapes of prometheus_client, which calls this for each reader of the page."""
        from prometheus_client.metrics_core import Metric

        for family in self._metrics.collect():
            metric = Metric(family.name, family.help, family.kind)
            for ending, labels, value in family.samples:
                metric.add_sample(family.name + ending, dict(labels), value)
            yield metric


# --- the text format ------------------------------------------------------------------------------------


def page(metrics: list[Family]) -> str:
    """The metrics in Prometheus' text format, version 0.0.4."""
    lines = []
    for family in metrics:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        lines += [f"# HELP {name} {family.help}", f"# TYPE {name} {family.kind}"]
        lines += [f"{family.name}{ending}{_braces(labels)} {value!r}" for ending, labels, value in family.samples]
    return "\n".join(lines) + "\n"


def _braces(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
