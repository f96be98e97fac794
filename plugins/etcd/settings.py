"""What a job's parameters say about etcd: where it is, and how it is spoken to. Reads files; connects to nothing."""

from __future__ import annotations

import os
import ssl

from launcher_core.model.settings import RendezvousParameters
from launcher_core.rules.endpoint import parse_endpoint
from launcher_plugins.etcd.faults import Identity, Member
from launcher_plugins.etcd.gateway import Access, Gateway
from launcher_plugins.etcd.register import EtcdRegister

DEFAULT_PORT = 2379
LEAST_TTL = 2.0
USER_VARIABLE = "PET_RDZV_USER"
PASSWORD_VARIABLE = "PET_RDZV_PASSWORD"
SECURE = ("ca_cert", "ssl_cert", "ssl_cert_key")


def register_of(params: RendezvousParameters) -> EtcdRegister:
    """The register that the parameters describe. Raises ValueError for a value that makes no sense."""
    ttl = params.get_as_seconds("lease_ttl", 6)
    if ttl < LEAST_TTL or ttl != int(ttl):
        raise ValueError(f"lease_ttl={params.get('lease_ttl')}: write a whole number of seconds, 2 or more")
    prefix = _prefix(str(params.get("prefix", "/launcher")))
    members = members_of(params)
    user, password = _credentials(params)
    identity = Identity(user, password, params.get("ca_cert", ""), params.get("ssl_cert", ""), prefix)
    access = Access(
        members,
        identity,
        _context(params) if any(member.scheme == "https" for member in members) else None,
        request_timeout=min(1.5, ttl / 4) if len(members) > 1 else ttl / 2,  # a lone member is only given time
        call_timeout=ttl / 2,
        connect_timeout=params.get_as_seconds("connect_timeout", 30),
    )
    return EtcdRegister(Gateway(access), prefix, params.run_id, ttl)


def members_of(params: RendezvousParameters) -> tuple[Member, ...]:
    """The servers of the endpoint, in its order. Raises ValueError."""
    protocol = params.get("protocol")
    named = [key for key in SECURE if params.get(key)]
    if protocol not in (None, "http", "https"):
        raise ValueError(f"protocol={protocol}: write http or https")
    if protocol == "http" and named:
        raise ValueError(f"protocol=http: {named[0]} is for https; leave one of them out")
    usual = protocol or ("https" if named else "http")
    texts = [text.strip() for text in params.endpoint.split(",")]
    if not all(texts):
        raise ValueError(
            f"--rdzv-endpoint={params.endpoint!r}: name the servers of etcd, HOST[:{DEFAULT_PORT}], separated by commas"
        )
    members = tuple(dict.fromkeys(_member(text, usual) for text in texts))
    plain = [member for member in members if member.scheme == "http"]
    if plain and named:
        raise ValueError(f"--rdzv-endpoint: {named[0]} is for https, but http://{plain[0]} is not; write https://")
    return members


def _member(text: str, usual: str) -> Member:
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = usual, text
    if scheme not in ("http", "https"):
        raise ValueError(f"--rdzv-endpoint: {text!r} begins with neither http:// nor https://")
    host, port = parse_endpoint(rest.removesuffix("/"), DEFAULT_PORT)
    if not port:
        raise ValueError(f"--rdzv-endpoint: {text!r}: etcd has no port 0; it usually has {DEFAULT_PORT}")
    return Member(scheme, host, port)


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if not prefix or not prefix.isprintable():
        raise ValueError(f"prefix={text!r}: write what the job's keys shall begin with, e.g. /launcher")
    return prefix


def _credentials(params: RendezvousParameters) -> tuple[str, str]:
    """User and password; both empty for none."""
    user = str(params.get("user") or os.environ.get(USER_VARIABLE, ""))
    path = params.get("password_file")
    password = os.environ.get(PASSWORD_VARIABLE, "") if path is None else _line(path)
    if user and not password:
        raise ValueError(f"user={user}: the password is missing; give password_file, or {PASSWORD_VARIABLE}")
    if path is not None and not user:
        raise ValueError(f"password_file={path}: whose password is it? Give user, or {USER_VARIABLE}")
    return (user, password) if user else ("", "")


def _line(path: str) -> str:
    """What the file holds, without the end of its line."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(4096).strip()
    except OSError as error:
        raise ValueError(f"password_file={path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"password_file={path}: this is no text") from error


def _context(params: RendezvousParameters) -> ssl.SSLContext:
    """What TLS is spoken with."""
    authority, cert, key = (params.get(name) for name in SECURE)
    for name, path in zip(SECURE, (authority, cert, key), strict=True):
        _readable(name, path)
    if key and not cert:
        raise ValueError(f"ssl_cert_key={key}: give ssl_cert, too")
    context = ssl.create_default_context()
    if authority:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(authority)
        except ssl.SSLError as error:
            raise ValueError(f"ca_cert={authority}: there is no certificate in it") from error
    if cert:
        try:
            context.load_cert_chain(cert, key, password=lambda: "")
        except ssl.SSLError as error:
            where = f" and ssl_cert_key={key}" if key else ""
            why = "they do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else "no certificate with key"
            raise ValueError(f"ssl_cert={cert}{where}: {why}; name PEM files, the key without a passphrase") from error
    return context


def _readable(name: str, path: str | None) -> None:
    if not path:
        return
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ValueError(f"{name}={path}: {error.strerror}") from error
