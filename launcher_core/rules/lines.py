"""From the bytes that workers write to the lines that people read.

Chunks end anywhere; lines do not.  What a worker wrote is never altered, decoded or split: a line is shown
whole, or, where a progress display rewrites it with carriage returns, in its newest state.  The time is an
argument, in seconds of any clock that does not go backwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

REFRESH_SECONDS = 1.0
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes without a newline that are kept; a longer line is shown in pieces, each a line of its own."""


class Lines:
    """The lines of one stream. `feed`, `tick` and `end` return blocks of whole lines, each with its newline.

    `due` is the time at which `tick` has the newest state of a refreshed line to show, None when it has not.
    """

    __slots__ = ("_before", "_held", "_open_cr", "_parts", "_refreshed", "_shown", "_shown_at", "due")

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # the open line, from its last refresh on
        self._held = 0  # bytes in _parts
        self._before = b""  # what the open line said before its last refresh
        self._refreshed = False
        self._open_cr = False  # a carriage return came last: a refresh, or half of a CRLF
        self._shown = False  # the newest state has been shown
        self._shown_at = float("-inf")
        self.due: float | None = None

    def feed(self, chunk: bytes, now: float) -> bytes:
        """The lines that the chunk completes."""
        if self._open_cr:
            chunk = b"\r" + chunk
        if self._refreshed or b"\r" in chunk:
            return self._feed_refreshes(chunk, now)
        return self._feed_plain(chunk)

    def tick(self, now: float) -> bytes:
        """The newest state of a refreshed line, when it is due."""
        if self.due is None or now < self.due:
            return b""
        self.due = None
        self._shown = True
        self._shown_at = now
        self._refreshed = True
        return self._newest() + b"\n"

    def end(self) -> bytes:
        """The last line, when it came without a newline. The stream is over."""
        newest = b"" if self._shown else self._newest()
        self._forget_line()
        self._open_cr = False
        self.due = None
        return newest + b"\n" if newest else b""

    def _feed_plain(self, chunk: bytes) -> bytes:
        end = chunk.rfind(b"\n") + 1
        if not end:
            return self._hold(chunk)
        rest = chunk[end:]
        block = chunk[:end]
        if self._parts:
            block = b"".join((*self._parts, block))
        self._parts = [rest] if rest else []
        self._held = len(rest)
        return block

    def _feed_refreshes(self, chunk: bytes, now: float) -> bytes:
        self._open_cr = chunk.endswith(b"\r")
        *lines, rest = (chunk[:-1] if self._open_cr else chunk).split(b"\n")
        block = b"".join(map(self._finish, lines)) + self._advance(rest)
        self.due = None
        if (self._refreshed or self._open_cr) and not self._shown and self._newest():
            self.due = max(now, self._shown_at + REFRESH_SECONDS)
        return block

    def _finish(self, text: bytes) -> bytes:
        """The open line, completed by the text."""
        body = text[:-1] if text.endswith(b"\r") else text
        if self._refreshed or b"\r" in body:
            line = self._advance(body)
            line += b"" if self._shown else self._newest() + b"\n"
        else:
            line = b"".join((*self._parts, text, b"\n"))
        self._forget_line()
        return line

    def _advance(self, text: bytes) -> bytes:
        """Add text to the open line, every carriage return in it a refresh; what became too long to keep."""
        first, *later = text.split(b"\r")
        block = self._hold(first)
        for state in later:
            self._before = self._newest()
            self._refreshed = True
            self._parts = []
            self._held = 0
            block += self._hold(state)
        return block

    def _hold(self, text: bytes) -> bytes:
        """Keep text of the open line; all that is kept, as a line, when that is too long."""
        if not text:
            return b""
        self._shown = False
        self._parts.append(text)
        self._held += len(text)
        if self._held <= LONGEST_LINE:
            return b""
        block = b"".join((*self._parts, b"\n"))
        self._forget_line()
        return block

    def _newest(self) -> bytes:
        return b"".join(self._parts) or self._before

    def _forget_line(self) -> None:
        self._parts = []
        self._held = 0
        self._before = b""
        self._refreshed = False
        self._shown = False


def prefixed(block: bytes, prefix: bytes) -> tuple[bytes | memoryview, ...]:
    """The block of whole lines with the prefix before each: pieces to be written one after the other.

    Pieces, because joining them would cost more than all the rest.
    """
    if not (block and prefix):
        return (block,)
    return prefix, memoryview(block.replace(b"\n", b"\n" + prefix))[: -len(prefix)]


def matching(block: bytes, needles: Sequence[bytes]) -> bytes:
    """Those lines of the block that contain one of the needles; an empty needle is in every line."""
    if not any(needle in block for needle in needles):
        return b""
    lines = block[:-1].split(b"\n")
    return b"".join(line + b"\n" for line in lines if any(needle in line for needle in needles))


def last_lines(data: bytes, count: int) -> str:
    """The last lines of a stream, for people to read; refreshed ones in their newest state."""
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    chosen = lines[-count:] if count > 0 else []
    return "\n".join(_newest_state(line).decode("utf-8", "replace") for line in chosen)


def prefix(template: str | None, names: Mapping[str, object]) -> bytes:
    """What stands before each line of one worker; nothing is added to it.

    `names` has role_name, rank, local_rank and, when the template mentions it, hostname. The template is
    that of string.Template.safe_substitute; without one the prefix is `[<role_name><local_rank>]:`.
    """
    if not template:
        return f"[{names['role_name']}{names['local_rank']}]:".encode("utf-8", "surrogateescape")
    return substitute(template, names).encode("utf-8", "surrogateescape")


def substitute(template: str, names: Mapping[str, object]) -> str:
    """The template with `$name` and `${name}` replaced, `$$` made `$`; what `names` lacks stays as it is."""
    if "$" not in template:
        return template
    import re

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        return str(names.get(match[2] or match[3], match[0]))

    return re.sub(r"\$(?:(\$)|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", value, template, flags=re.ASCII)


def _newest_state(line: bytes) -> bytes:
    return next((state for state in reversed(line.split(b"\r")) if state), b"")
