"""Reads and writes `host:port` texts. No name is resolved here: whether a host exists others find out."""

from typing import NamedTuple

from launcher_core.errors import UsageError

LAST_PORT = 65535
_DIGITS = 20
"""Of a port, zeros in front included: Python refuses to read a number of thousands."""


class Endpoint(NamedTuple):
    """A place to connect to; `host` has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        """The text that `parse_endpoint` reads back; IPv6 addresses get brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str, default_port: int | None = None, said: str = "--rdzv-endpoint") -> Endpoint:
    """The endpoint that the text names; without a port in it, at `default_port`.

    Raises UsageError as `split_endpoint` does, and for a text without a port where there is no default.
    """
    host, port = split_endpoint(text, said)
    if port is None:
        port = default_port
    if port is None:
        raise UsageError(f"{said}={text!r}: the port is missing; write HOST:PORT")
    return Endpoint(host, port)


def split_endpoint(text: str, said: str = "--rdzv-endpoint") -> tuple[str, int | None]:
    """Host and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; None without a port.

    `said` names the source in errors. Raises UsageError for anything else, and for ports above 65535.
    """
    text = text.strip()
    host, port = _cut(text)
    if not host or not _is_host(host):
        raise UsageError(f"{said}={text!r}: write HOST, HOST:PORT, or [IPv6 ADDRESS]:PORT")
    if port is None:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= _DIGITS and int(port) <= LAST_PORT):
        raise UsageError(f"{said}={text!r}: {port!r} is no port; write a number up to {LAST_PORT}")
    return host, int(port)


def _cut(text: str) -> tuple[str, str | None]:
    """Host and port text; an empty host where the brackets do not fit."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return "", None
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def is_loopback(host: str) -> bool:
    """Whether the host, by its spelling, is this machine as seen by itself alone."""
    return host in ("localhost", "::1") or host.startswith("127.")


def _is_host(host: str) -> bool:
    """Whether this can be a name or an address: no blanks, no URL, colons only in an IPv6 address."""
    if any(letter.isspace() or letter in "/[],@?#" for letter in host):
        return False
    if ":" not in host:
        return True
    address, _, scope = host.partition("%")
    return _is_ipv6(address) and (bool(scope) or "%" not in host)


def _is_ipv6(address: str) -> bool:
    """Whether this is spelled like an IPv6 address (RFC 4291, section 2.2)."""
    if address.count("::") > 1 or ":::" in address:
        return False
    left, gap, right = address.partition("::")
    groups = [group for side in (left, right) if side for group in side.split(":")]
    size = len(groups)
    if groups and "." in groups[-1]:
        if not _is_ipv4(groups.pop()):
            return False
        size += 1
    fits = all(0 < len(group) <= 4 and set(group.lower()) <= set("0123456789abcdef") for group in groups)
    return fits and (size < 8 if gap else size == 8)


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(
        part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts
    )
