"""A collector of OpenTelemetry's protocol over HTTP, in this process: keeps what it is sent, decoded."""

from __future__ import annotations

import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {"/v1/traces": ExportTraceServiceRequest, "/v1/metrics": ExportMetricsServiceRequest}


class Collector:
    """Listens on a port of its own from the beginning; `answer` is the status that it gives."""

    def __init__(self, answer: int = 200) -> None:
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append(KINDS[self.path].FromString(body))
                collector.headers.append(dict(self.headers))
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *words: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans(self) -> list[Any]:
        """All spans, by when they began."""
        found = [
            span
            for request in self.requests
            if isinstance(request, ExportTraceServiceRequest)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        return sorted(found, key=lambda span: (span.start_time_unix_nano, -span.end_time_unix_nano))

    def numbers(self) -> dict[tuple[str, str], float]:
        """The last number of each metric, by name and the value of its own label, "" where it has none."""
        found = {}
        for request in self.requests:
            if isinstance(request, ExportMetricsServiceRequest):
                for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
                    for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points:
                        labels = [a.value.string_value for a in point.attributes if a.key != "launcher.run_id"]
                        value = point.as_double if point.HasField("as_double") else point.as_int
                        found[metric.name, ",".join(labels)] = value
        return found

    def resources(self) -> list[dict[str, Any]]:
        """The attributes of what sent each request for spans."""
        requests = [one for one in self.requests if isinstance(one, ExportTraceServiceRequest)]
        return [plain(resource.resource.attributes) for one in requests for resource in one.resource_spans]


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
