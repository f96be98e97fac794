"""Says in one paragraph why etcd cannot be used as it was asked for: what, with which value, what to do.

Only what no waiting mends is a fault. A server that is down, or slow, or without a leader, is not: that is tried again.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

CREDENTIALS = "user and password_file in --rdzv-conf, or PET_RDZV_USER and PET_RDZV_PASSWORD"

DENIED = 7
"""gRPC's code for what a user may not do."""


class Member(NamedTuple):
    """One server of the cluster."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Identity(NamedTuple):
    """Who this node says it is, and whom it trusts; files as they were given."""

    user: str = ""
    password: str = ""
    ca_cert: str = ""
    ssl_cert: str = ""
    prefix: str = "/launcher"

    def __repr__(self) -> str:
        return f"Identity(user={self.user!r}, ca_cert={self.ca_cert!r}, ssl_cert={self.ssl_cert!r})"


def of_tls(error: ssl.SSLError, member: Member, identity: Identity) -> str | None:
    """What is wrong with TLS; None for an error that may pass."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, member, identity)
    reason = error.reason or ""
    if "ALERT" in reason:
        return _refused(reason, member, identity)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL"):
        return no_tls(member)
    return None


def no_tls(member: Member) -> str:
    """What to say of a server that was spoken to in TLS, but speaks plain text."""
    return f"{member} does not speak TLS; write http://{member} in --rdzv-endpoint, or correct the port"


def _untrusted(error: ssl.SSLCertVerificationError, member: Member, identity: Identity) -> str:
    said = error.verify_message.rstrip(".")
    if "expired" in said or "not yet valid" in said:
        return f"the certificate of etcd at {member}: {said}; renew it, or set this machine's clock"
    if "mismatch" in said:
        return f"the certificate of etcd at {member}: {said}; write a name that it is for in --rdzv-endpoint"
    trusted = f"ca_cert={identity.ca_cert}" if identity.ca_cert else "the system's certificates"
    return (
        f"the certificate of etcd at {member} is not trusted by {trusted}: {said}; name the file of the CA that "
        "signed it with ca_cert in --rdzv-conf"
    )


def _refused(reason: str, member: Member, identity: Identity) -> str:
    said = reason.rpartition("ALERT_")[2].replace("_", " ").lower()
    if not identity.ssl_cert:
        return (
            f"etcd at {member} wants a client certificate ({said}); name one with ssl_cert and ssl_cert_key in "
            "--rdzv-conf"
        )
    return (
        f"etcd at {member} refuses the client certificate ssl_cert={identity.ssl_cert} ({said}); name one that is "
        "valid and signed by a CA that etcd trusts"
    )


def speaks_tls(member: Member) -> str:
    """What to say of a server that was spoken to in plain text, but speaks TLS."""
    return f"{member} speaks TLS; write https://{member} in --rdzv-endpoint, and ca_cert=FILE in --rdzv-conf"


def no_web_server(line: str, member: Member) -> str:
    """What to say of a server whose first line is no answer to an HTTP request."""
    return f"what answers at {member} is not etcd: it said {line[:60].strip()!r}; correct --rdzv-endpoint"


def not_etcd(member: Member, status: int, kind: str) -> str:
    """What to say of an HTTP server that is something else."""
    return (
        f"what answers at {member} is not etcd: an HTTP server that said {status} ({kind or 'no type'}); correct "
        "--rdzv-endpoint"
    )


def no_gateway(member: Member, version: str) -> str:
    """What to say of an etcd that does not offer what is spoken here."""
    return (
        f"etcd {version} at {member} does not serve /v3/ over HTTP; use etcd 3.4 or later, without "
        "enable-grpc-gateway=false"
    )


def of_answer(code: int, text: str, member: Member, identity: Identity) -> str | None:
    """What is wrong when etcd itself refuses (`code` is gRPC's); None for an error that is none of the user's."""
    if "CommonName" in text:
        return (
            f"etcd at {member} takes no client certificate with a common name over HTTP while it asks for users: make "
            f"ssl_cert={identity.ssl_cert} one whose subject has no CN (e.g. /O=launcher), and give {CREDENTIALS}"
        )
    if "authentication failed" in text:
        return f"etcd at {member} refuses the password of user {identity.user!r}; correct {CREDENTIALS}"
    if "not enabled" in text:
        return (
            f"etcd at {member} asks nobody who he is, so user {identity.user!r} cannot be checked; leave the user out, "
            "or run `etcdctl auth enable`"
        )
    if "user name is empty" in text or (code == DENIED and not identity.user):
        return f"etcd at {member} asks for a user and a password; give {CREDENTIALS}"
    if code == DENIED:
        return (
            f"etcd at {member} does not let user {identity.user!r} read and write below {identity.prefix}/: {text}; "
            f"have `etcdctl role grant-permission ROLE readwrite --prefix=true {identity.prefix}/` run, or give "
            "another prefix in --rdzv-conf"
        )
    return None
