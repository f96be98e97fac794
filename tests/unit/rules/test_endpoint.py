"""Texts that name a place to connect to."""

from __future__ import annotations

import pytest

from launcher_core.errors import UsageError
from launcher_core.rules.endpoint import Endpoint, parse_endpoint, split_endpoint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("host", None)),
        ("host:0", ("host", 0)),
        ("host1.cluster.local:29400", ("host1.cluster.local", 29400)),
        ("my_host-1:65535", ("my_host-1", 65535)),
        (" localhost:1 ", ("localhost", 1)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("[::1]:29400", ("::1", 29400)),
        ("[::1]", ("::1", None)),
        ("::1", ("::1", None)),
        ("::", ("::", None)),
        ("fe80::1%eth0", ("fe80::1%eth0", None)),
        ("[fe80::1%eth0]:5", ("fe80::1%eth0", 5)),
        ("2001:db8:0:1:1:1:1:1", ("2001:db8:0:1:1:1:1:1", None)),
        ("::ffff:10.0.0.1", ("::ffff:10.0.0.1", None)),
    ],
)
def test_host_and_port_come_apart(text: str, expected: tuple[str, int | None]) -> None:
    assert split_endpoint(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":29400", "host:", "host:x", "host:-1", "host:65536", "host:1:2", "a b:1", "tcp://host:1",
        "host/path", "[::1", "::1]", "[::1]x", "[::1]:", "[host]:1", "[]:1", ":::", "1::2::3", "12345::",
        "1:2:3", "::1%", "h,g:1", "1:2:3:4:5:6:7:8:9", "::10.0.0.256", "host:\u0661",
    ],
)  # fmt: skip
def test_what_names_no_place_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        split_endpoint(text, "PET_RDZV_ENDPOINT")
    assert str(caught.value).startswith(f"PET_RDZV_ENDPOINT={text.strip()!r}: ")


def test_a_port_is_taken_from_the_text_then_from_the_default() -> None:
    assert [parse_endpoint(text, default_port=29400) for text in ("h", "h:1", "::1")] == [
        Endpoint("h", 29400),
        Endpoint("h", 1),
        Endpoint("::1", 29400),
    ]


def test_a_port_that_nobody_names_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"^--rdzv-endpoint='host': the port is missing; write HOST:PORT$"):
        parse_endpoint("host")


@pytest.mark.parametrize("text", ["host:1", "[::1]:2", "[fe80::1%eth0]:3"])
def test_an_endpoint_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_endpoint(text)) == text
