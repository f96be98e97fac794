"""The agents' wire protocol: JSON in length-prefixed frames. Sans-IO: bytes in, messages out.

A connection opens with MAGIC, whose first byte no store protocol starts with; then each side sends frames: a
big-endian u32 length and that many bytes of JSON, one object with a key "type".  At most MAX_FRAME bytes each, and
MAX_ASKED from an agent to the coordinator.
"""

from __future__ import annotations

import json
from typing import Any

MAGIC = b"LAUNCH\x01\n"
MAX_FRAME = 1 << 20
MAX_ASKED = 1 << 16


def frame(type: str, **fields: Any) -> bytes:
    """One message as bytes."""
    body = json.dumps({"type": type, **fields}, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise ValueError(f"a message of {len(body)} bytes is too large; at most {MAX_FRAME}")
    return len(body).to_bytes(4, "big") + body


class Frames:
    """Takes bytes as they come and gives whole messages."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The messages that are complete with `data`. Raises ValueError on anything that is not a message."""
        buffer = self._buffer
        buffer += data
        messages = []
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:4], "big")
            if size > self._limit:
                raise ValueError(f"a frame of {size} bytes was announced; at most {self._limit}")
            if len(buffer) < 4 + size:
                break
            messages.append(_message(bytes(buffer[4 : 4 + size])))
            del buffer[: 4 + size]
        return messages


def _message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {body[:60]!r}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError(f"not a message: {body[:60]!r}")
    return message
