"""What a probe is told."""

from __future__ import annotations

import pytest

from launcher_core.runtime.health import reply


def told(request: bytes, state: str) -> tuple[str, str]:
    """The status and the body of the response."""
    head, _, body = reply(request, state).decode().partition("\r\n\r\n")
    return head.split("\r\n")[0].removeprefix("HTTP/1.1 "), body


@pytest.mark.parametrize("state", ["rendezvous", "restarting", "stopping", "awaiting"])
def test_who_has_no_workers_lives_and_is_not_ready(state: str) -> None:
    assert told(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", state) == ("200 OK", f"alive: {state}\n")
    assert told(b"GET /readyz HTTP/1.1\r\n\r\n", state) == ("503 Service Unavailable", f"not ready: {state}\n")


@pytest.mark.parametrize("state", ["running", "finishing"])
def test_who_has_workers_is_ready(state: str) -> None:
    assert told(b"GET /readyz?verbose HTTP/1.0\r\n\r\n", state) == ("200 OK", f"ready: {state}\n")


def test_head_has_no_body() -> None:
    assert told(b"HEAD /readyz HTTP/1.1\r\n\r\n", "running") == ("200 OK", "")


def test_there_is_nothing_else() -> None:
    assert told(b"GET / HTTP/1.1\r\n\r\n", "running") == ("404 Not Found", "there are /livez and /readyz\n")


@pytest.mark.parametrize(
    "request_", [b"", b"GET", b"POST /livez HTTP/1.1\r\n", b"\x16\x03\x01", b"GET /livez\r\n", b"A" * 4096]
)
def test_what_is_no_request_is_refused(request_: bytes) -> None:
    assert told(request_, "running")[0] == "400 Bad Request"
