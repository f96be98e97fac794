"""What a job's parameters say about etcd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher_core.model.settings import RendezvousParameters
from launcher_plugins.etcd.faults import Member
from launcher_plugins.etcd.settings import members_of, register_of


def params(endpoint: str, **conf: Any) -> RendezvousParameters:
    return RendezvousParameters("etcd", endpoint, "job", 1, 4, **conf)


@pytest.mark.parametrize(
    ("endpoint", "conf", "members"),
    [
        ("one", {}, [Member("http", "one", 2379)]),
        ("one:1", {"protocol": "https"}, [Member("https", "one", 1)]),
        ("one", {"ca_cert": "ca.pem"}, [Member("https", "one", 2379)]),
        ("http://one", {"protocol": "https"}, [Member("http", "one", 2379)]),
        ("https://one:5/", {}, [Member("https", "one", 5)]),
        (
            " one , two:7,[::1],one",
            {},
            [Member("http", *place) for place in [("one", 2379), ("two", 7), ("::1", 2379)]],
        ),
        ("fe80::1%eth0", {}, [Member("http", "fe80::1%eth0", 2379)]),
    ],
)
def test_an_endpoint_names_members(endpoint: str, conf: dict[str, str], members: list[Member]) -> None:
    assert list(members_of(params(endpoint, **conf))) == members


def test_a_member_is_written_as_it_is_read() -> None:
    assert [str(Member("http", host, 2379)) for host in ("one", "::1")] == ["one:2379", "[::1]:2379"]


@pytest.mark.parametrize(
    ("endpoint", "conf", "says"),
    [
        ("", {}, "name the servers of etcd"),
        ("one,", {}, "name the servers of etcd"),
        ("unix://one", {}, "begins with neither http:// nor https://"),
        ("one:0", {}, "etcd has no port 0"),
        ("user@one", {}, "write HOST"),
        ("one", {"protocol": "http", "ssl_cert": "x"}, "protocol=http: ssl_cert is for https"),
    ],
)
def test_an_endpoint_that_names_none_is_a_value_error(endpoint: str, conf: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        members_of(params(endpoint, **conf))


def test_times_follow_the_lease() -> None:
    register = register_of(params("one,two", lease_ttl="4"))

    access = register._gateway.access
    assert (access.request_timeout, access.call_timeout, access.connect_timeout) == (1.0, 2.0, 30.0)
    assert register.lease_seconds == 4.0
    assert register.held_since() == float("-inf")


def test_user_and_password_come_from_a_file_before_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_text("from file\n")
    monkeypatch.setenv("PET_RDZV_USER", "somebody")
    monkeypatch.setenv("PET_RDZV_PASSWORD", "from variable")

    def identity(**conf: str) -> tuple[str, str]:
        found = register_of(params("one", **conf))._gateway.access.identity
        return found.user, found.password

    assert identity() == ("somebody", "from variable")
    assert identity(user="bob") == ("bob", "from variable")
    assert identity(user="bob", password_file=str(file)) == ("bob", "from file")


def test_a_password_without_a_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_RDZV_PASSWORD", "for another job")

    assert register_of(params("one"))._gateway.access.identity.password == ""


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_RDZV_USER", "bob")
    monkeypatch.setenv("PET_RDZV_PASSWORD", "secret")
    access = register_of(params("one"))._gateway.access

    assert "secret" not in f"{access} {access!r} {access.identity} {json.dumps(str(access.identity))}"


def test_a_dry_run_tells_where_as_whom_and_for_how_long(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame\n")
    register = register_of(params("one,https://two", user="me", password_file=str(password)))

    assert register.describe() == {
        "meets at": "http://one:2379, https://two:2379",
        "keys begin with": "/launcher/job/",
        "a member is given up after": "1.5 s",
        "an etcd that never answers is given up after": "30 s",
        "user": "me",
    }
