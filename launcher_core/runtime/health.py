"""The two questions of a scheduler's probe, over HTTP: does the launcher live, and do its workers run?"""

from __future__ import annotations

READY = ("running", "finishing")
"""States in which workers run, or have all ended well."""


def reply(request: bytes, state: str) -> bytes:
    """The whole HTTP response for a request of which the first line has been read."""
    words = request.partition(b"\r\n")[0].split()
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD") or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", "write GET /livez or GET /readyz\n")
    path = words[1].partition(b"?")[0]
    head = words[0] == b"HEAD"
    if path == b"/livez":  # an answer is the answer
        return _response("200 OK", f"alive: {state}\n", head=head)
    if path == b"/readyz":
        status = "200 OK" if state in READY else "503 Service Unavailable"
        return _response(status, f"{'ready' if state in READY else 'not ready'}: {state}\n", head=head)
    return _response("404 Not Found", "there are /livez and /readyz\n", head=head)


def _response(status: str, text: str, *, head: bool = False) -> bytes:
    top = f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return (top + ("" if head else text)).encode()
