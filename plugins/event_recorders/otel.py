"""The recorder that `--event-log-handler otel[=URL]` names: OpenTelemetry traces and metrics over OTLP/HTTP.

Needs the extra `otel`. Where it sends, and with which headers, the usual OTEL_ variables say. One thread of its own
sends; a collector that is away holds nothing up, and is told of once, at the end. The SDK's own batch processors are
not used: they would start again in every worker that is forked.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from hashlib import sha256
from time import monotonic, time
from typing import Any

from launcher_core import __version__
from launcher_core.errors import UsageError
from launcher_core.hooks.ports import Recorder
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.record import Event
from launcher_core.rules.timeline import AGENT, ROUNDS, Ledger, Mark, Timeline, moment
from launcher_plugins.event_recorders.figures import families

FLAG = "--event-log-handler otel"
SPANS_EVERY = 5.0
METRICS_EVERY = 60.0
CLOSING_SECONDS = 2.0
"""How long the end of a launch waits for the collector."""
MOST_UNSENT = 4096


@hookimpl
def launcher_make_recorder(argument: str | None) -> Recorder:
    """A recorder that sends to the collector at `argument`, else where the environment says, else to this machine.

    Raises UsageError when OpenTelemetry is not installed, or `argument` is no address.
    """
    if argument and not argument.startswith(("http://", "https://")):
        raise UsageError(f"{FLAG}={argument!r}: write the collector's address, e.g. otel=http://collector:4318")
    try:
        return OtelRecorder(argument)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{FLAG} needs {error.name}, which is not installed: pip install 'launcher-core[otel]'"
        ) from error


class OtelRecorder:
    """Turns events into spans and numbers; its Sender takes them from there."""

    detailed = True

    def __init__(self, url: str | None) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "launcher", "service.version": __version__}
        resource = Resource.create({**own, "host.name": socket.gethostname(), "process.pid": os.getpid()})
        self._ids, processor = _ids_and_processor()
        self._traces = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._traces.add_span_processor(processor)
        reader = InMemoryMetricReader()
        self._meters = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._begun: set[str] = set()
        self._run_id = ""
        self._tracer = self._traces.get_tracer("launcher", __version__)
        self._timeline = Timeline()
        self._open: dict[int, list[Any]] = {}
        self._outer: Any = None
        self._first: int | None = None
        self._group_rank: int | None = None
        self._declare()
        self._sender = Sender(url, processor.ended, reader)

    def record(self, event: Event) -> None:
        """Take the event into account."""
        told = moment(event)
        if told is None:
            return
        with self._lock:
            self._ledger.take(event)
        if told.state == "BEGUN":
            self._run_id, self._first = str(told.facts.get("run_id")), told.at
            self._outer = _outer(self._run_id, os.environ)
        self._group_rank = told.facts.get("group_rank", self._group_rank)
        for mark in self._timeline.take(event):
            self._mark(mark)
        if told.state == "ENDED":
            self._job(told.at)

    def close(self) -> None:
        """End all spans and send what is left. Raises OSError when the collector did not get all of it in time."""
        for mark in self._timeline.end():
            self._mark(mark)
        self._sender.close()

    def _mark(self, mark: Mark) -> None:
        stack = self._open.setdefault(mark.track, [])
        facts = _attributes(mark.facts)
        if mark.kind == "open":
            stack.append(
                self._tracer.start_span(mark.name, self._within(mark.track), attributes=facts, start_time=_ns(mark))
            )
        elif not stack:
            return
        elif mark.kind == "instant":
            stack[-1].add_event(mark.name, facts, _ns(mark))
        else:
            span = stack.pop()
            span.set_attributes(facts)
            if _went_wrong(mark.facts):
                span.set_status(_error())
            span.end(_ns(mark))

    def _within(self, track: int) -> Any:
        """The context of a new span: in the span around it, its round, this node's launch, or the job."""
        from opentelemetry.trace import set_span_in_context

        tracks = (track, ROUNDS, AGENT) if track >= 0 else (track, AGENT)
        around = next((self._open[one][-1 if one == track else 0] for one in tracks if self._open.get(one)), None)
        return self._outer if around is None else set_span_in_context(around)

    def _job(self, at: int) -> None:
        """The span around those of all nodes. Node 0 sends it, unless the job is part of a trace already."""
        if self._group_rank == 0 and self._first is not None and not os.environ.get("TRACEPARENT"):
            from opentelemetry.context import Context

            self._ids.forced = job_ids(self._run_id)
            attributes = {"launcher.run_id": self._run_id}
            span = self._tracer.start_span("job", Context(), attributes=attributes, start_time=self._first * 1000)
            span.end(at * 1000)

    def _declare(self) -> None:
        meter = self._meters.get_meter("launcher", __version__)
        for family in families(self._ledger, 0):
            for name, ending in _instruments(family.name, family.kind):
                make = meter.create_observable_gauge if family.kind == "gauge" else meter.create_observable_counter
                callbacks = [partial(self._observe, family.name, ending)]
                make(name, callbacks, family.unit if ending != "_count" else "1", family.help)

    def _observe(self, family: str, ending: str, options: Any) -> Iterable[Any]:
        """The current numbers of one metric; called by the sender's thread."""
        from opentelemetry.metrics import Observation

        with self._lock:
            found = families(self._ledger, int(time() * 1e6))
        samples = next(one.samples for one in found if one.name == family)
        own = {"launcher.run_id": self._run_id}
        return [Observation(value, {**labels, **own}) for end, labels, value in samples if end == ending]


class Sender:
    """The thread that talks to the collector."""

    def __init__(self, url: str | None, spans: list[Any], reader: Any) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        base = url.rstrip("/") if url else None
        self._spans_out = OTLPSpanExporter(f"{base}/v1/traces" if base else None)
        self._metrics_out = OTLPMetricExporter(f"{base}/v1/metrics" if base else None)
        self._spans = spans
        self._reader = reader
        self._closing = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._run, name="otel", daemon=True)
        self._complaints = Complaints(self._thread)
        logging.getLogger("opentelemetry").addHandler(self._complaints)
        self._thread.start()

    def close(self) -> None:
        """Send what is left, for a few seconds at most. Raises OSError when that does not work."""
        self._closing.set()
        self._thread.join(CLOSING_SECONDS)
        if self._thread.is_alive():
            self._lost = f"the collector did not take all within {CLOSING_SECONDS:g} s"
        why = f": {self._complaints.last}" if self._complaints.last else ""
        if self._thread.is_alive():
            for exporter in (self._spans_out, self._metrics_out):
                exporter.shutdown()  # has it give up, of which it complains; the thread ends then, or with the process
        else:
            logging.getLogger("opentelemetry").removeHandler(self._complaints)
        if self._lost:
            raise OSError(f"{self._lost}{why}; OTEL_EXPORTER_OTLP_ENDPOINT, or otel=URL, says where it is")

    def _run(self) -> None:
        metrics_at = monotonic() + METRICS_EVERY
        while not self._closing.wait(SPANS_EVERY):
            self._send_spans()
            if monotonic() >= metrics_at:
                self._send_metrics()
                metrics_at = monotonic() + METRICS_EVERY
        self._send_spans()
        self._send_metrics()

    def _send_spans(self) -> None:
        batch = self._spans[:]
        if not batch:
            return
        taken = self._spans_out.export(batch).name == "SUCCESS"
        self._lost = None if taken else f"{len(batch)} spans could not be sent"
        if taken or len(batch) > MOST_UNSENT:
            del self._spans[: len(batch)]

    def _send_metrics(self) -> None:
        data = self._reader.get_metrics_data()
        if data is not None and self._metrics_out.export(data).name != "SUCCESS":
            self._lost = self._lost or "metrics could not be sent"


class Complaints(logging.Handler):
    """Keeps the last thing that OpenTelemetry logs in one thread, which else would go to stderr, again and again."""

    def __init__(self, thread: threading.Thread) -> None:
        super().__init__(logging.WARNING)
        self._whose = thread
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        if threading.current_thread() is self._whose:
            self.last = " ".join(record.getMessage().split())[:200]


# --- words of OpenTelemetry -----------------------------------------------------------------------------


def job_ids(run_id: str) -> tuple[int, int]:
    """The trace of a job and the span around it, the same on every node, which need not talk about it."""
    digest = sha256(run_id.encode()).digest()
    return int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1


def _outer(run_id: str, environ: Mapping[str, str]) -> Any:
    """The context of this node's launch: in the span that $TRACEPARENT names, else in that of the job."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if environ.get("TRACEPARENT"):
        carrier = {"traceparent": environ["TRACEPARENT"], "tracestate": environ.get("TRACESTATE", "")}
        return TraceContextTextMapPropagator().extract(carrier)
    trace, span = job_ids(run_id)
    sampled = TraceFlags(TraceFlags.SAMPLED)
    return set_span_in_context(NonRecordingSpan(SpanContext(trace, span, True, sampled)))


def _ids_and_processor() -> tuple[Any, Any]:
    """What makes ids, random unless one is `forced`; and what gathers the spans that have `ended`."""
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):  # type: ignore[misc]
        forced: tuple[int, int] | None = None

        def generate_trace_id(self) -> int:
            return self.forced[0] if self.forced else super().generate_trace_id()

        def generate_span_id(self) -> int:
            return self.forced[1] if self.forced else super().generate_span_id()

    class Gathering(SpanProcessor):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ended: list[Any] = []

        def on_end(self, span: Any) -> None:
            self.ended.append(span)

    return Ids(), Gathering()


def _instruments(name: str, kind: str) -> list[tuple[str, str]]:
    """The instruments for one metric: their names, and the ending of the samples that they show."""
    dotted = name.replace("launcher_", "launcher.", 1)
    if kind == "summary":
        return [(f"{dotted}.count", "_count"), (f"{dotted}.sum", "_sum")]
    return [(dotted, "_total" if kind == "counter" else "")]


def _attributes(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {f"launcher.{name}": value for name, value in facts.items() if isinstance(value, str | int | float)}


def _went_wrong(facts: Mapping[str, Any]) -> bool:
    failed = bool(facts.get("exit_code")) and not facts.get("stopped")
    return failed or facts.get("result") == "FAILED" or facts.get("cause") in ("failure", "hang")


def _error() -> Any:
    from opentelemetry.trace import Status, StatusCode

    return Status(StatusCode.ERROR)


def _ns(mark: Mark) -> int:
    return mark.at * 1000
