"""Binding the one port of a job, once. A port is never found free and hoped for: it is bound, and kept.

Answers for itself when it cannot: the error names who holds the port.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from typing import Any

from launcher_core.errors import UsageError
from launcher_core.rules.endpoint import is_loopback

_TRIES = 8
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_LONGEST_COMMAND = 100
"""Characters of a command line that an error shows."""
_LISTEN = "0A"
"""How /proc/net/tcp writes the state of a listening socket."""

_Address = tuple[Any, ...]
"""What the socket module calls an address: host, port, and for IPv6 two numbers more."""


class PortInUse(UsageError):
    """Somebody else listens on the port."""


class _Retry(Exception):
    """The port that the system chose for one address is taken on another."""


def listen(host: str | None, port: int, *, backlog: int = 4096) -> list[socket.socket]:
    """Listening sockets on every address of this machine that `host` names, all on one port; at least one.

    No host: one socket on all interfaces, for IPv6 and IPv4. Port 0: the system chooses. Raises PortInUse,
    and UsageError when the host is unknown or not this machine, or the port is not allowed.
    """
    if host is None:
        return [_listen_everywhere(port, backlog)]
    addresses = _resolve(host)
    for _ in range(_TRIES):
        try:
            return _listen_on(host, addresses, port, backlog)
        except _Retry:
            continue
    raise PortInUse(f"no port is free on all addresses of {host!r}; give a port, or one address")


def _listen_everywhere(port: int, backlog: int) -> socket.socket:
    try:
        return _listener(socket.AF_INET6, ("::", port), backlog)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise _explained(error, "all interfaces", port) from error
    try:
        return _listener(socket.AF_INET, ("0.0.0.0", port), backlog)
    except OSError as error:
        raise _explained(error, "all interfaces", port) from error


def lookup(host: str, port: int = 0) -> list[Any]:
    """What getaddrinfo knows of a host, for TCP. Raises socket.gaierror.

    A name in ASCII is passed as bytes: the codec for names in other alphabets takes a millisecond to import.
    """
    return socket.getaddrinfo(host.encode() if host.isascii() else host, port, type=socket.SOCK_STREAM)


def local_address(host: str) -> str:
    """The first address of `host` that this machine can bind; "" when there is none. Raises gaierror."""
    for family, kind, protocol, _, address in lookup(host):
        with socket.socket(family, kind, protocol) as probe:
            try:
                probe.bind((address[0], 0, *address[2:]))
            except OSError:
                continue
            return str(address[0])
    return ""


def is_own_name(host: str) -> bool:
    """Whether this is what the machine calls itself, with or without its domain."""
    own = socket.gethostname().lower()
    return host.lower() in (own, own.partition(".")[0])


def advertised(reached_from: str = "") -> str:
    """The address that other nodes are told to find this one at.

    `reached_from`: this machine's address as a server sees it that all nodes use, where there is one. A loopback
    address is only given when the machine's own name has no other.
    """
    if reached_from and not is_loopback(reached_from):
        return reached_from
    name = socket.gethostname()
    try:
        found = [str(address[0]) for *_, address in lookup(name)]
    except OSError:
        return reached_from or name
    own = next((one for one in found if not is_loopback(one) and local_address(one)), "")
    return (own if reached_from else name) if own else (reached_from or name)


def refuse_loopback(host: str) -> None:
    """Raise UsageError for a name that is only this machine's loopback, where it is meant to be another machine's.

    Debian has a machine's own name at 127.0.1.1, which is fine: the others have it elsewhere.
    """
    found = sorted({str(address[0]) for *_, address in lookup(host)})
    if all(map(is_loopback, found)) and not is_own_name(host):
        raise UsageError(
            f"{host} is {', '.join(found)} here, which other nodes cannot reach: each would wait for itself; correct "
            "/etc/hosts or --rdzv-endpoint, or say who hosts with --rdzv-conf is_host=yes"
        )


def _resolve(host: str) -> dict[_Address, socket.AddressFamily]:
    try:
        found = lookup(host)
    except OSError as error:
        raise UsageError(f"cannot listen on {host!r}: {error}; give an address of this machine") from error
    return {address: family for family, _, _, _, address in found}


def _listen_on(
    host: str, addresses: dict[_Address, socket.AddressFamily], port: int, backlog: int
) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for address, family in addresses.items():
        chosen = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_listener(family, (address[0], chosen, *address[2:]), backlog))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                continue
            for sock in sockets:
                sock.close()
            if error.errno == errno.EADDRINUSE and chosen != port:
                raise _Retry from error
            raise _explained(error, host, port) from error
    if not sockets:
        shown = ", ".join(str(address[0]) for address in addresses)
        raise UsageError(f"cannot listen on {host!r}: {shown} is not this machine; give an address of it")
    return sockets


def _listener(family: socket.AddressFamily, address: _Address, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _explained(error: OSError, where: str, port: int) -> Exception:
    """The error in words a user can act on; itself when there are none."""
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"port {port} is in use by {_holder(port)}; end that process, or choose another port "
            "(0 lets the system choose)"
        )
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} on {where}: {error.strerror}; choose a port of 1024 or more")
    return error


def _holder(port: int) -> str:
    """The process that listens on the port, as far as this user may see."""
    inodes = set(_listening(port))
    for pid in filter(str.isdigit, _entries("/proc")):
        for fd in _entries(f"/proc/{pid}/fd"):
            if _link(f"/proc/{pid}/fd/{fd}") in inodes:
                return f"pid {pid} ({_command_line(pid)})"
    return "a process that this user cannot see"


def _listening(port: int) -> Iterator[str]:
    """How /proc/*/fd shows the sockets that listen on this port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in _read(table).splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == _LISTEN and local.endswith(f":{port:04X}"):
                yield f"socket:[{inode}]"


def _command_line(pid: str) -> str:
    words = _read(f"/proc/{pid}/cmdline").replace("\0", " ").split()
    line = " ".join(words) or "?"
    return line if len(line) <= _LONGEST_COMMAND else f"{line[:_LONGEST_COMMAND]}..."


def _entries(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
