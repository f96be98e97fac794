"""The contract of the key-value store that workers meet at: a service on the job's port, and its clients."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import suppress
from time import monotonic
from typing import Any

import pytest

from launcher_core.rules.protocol import MAGIC
from launcher_core.testing.contract import Contract, Thread, outcome
from launcher_core.testing.serving import ServicePort

BRIEFLY = 0.2
"""Seconds for waits that are to run out."""
CLIENTS = 4
ADDITIONS = 50
LARGE = bytes(range(256)) * 4096
NEEDED = ("set", "get", "add")


class StoreContract(Contract):
    """A plugin whose `launcher_make_store` returns a Store.

    Fixture `store`: that Store. The kit serves it at a port of its own; give `serve`, too, to have another do it.
    What agents use of a client is required: `set`, `get`, `add`. Other methods of torch's Store are tested where a
    client has them.
    """

    @pytest.fixture
    def store(self) -> Any:
        """The Store."""
        raise NotImplementedError("give a fixture store: what launcher_make_store returns")

    @pytest.fixture
    def serve(self) -> Iterator[Callable[[Any], int]]:
        """Serves a service at a port of the loopback address: the port. What a session raises fails the test."""
        ports: list[ServicePort] = []

        def serve(service: Any) -> int:
            ports.append(ServicePort(service))
            return ports[-1].port

        yield serve
        for port in ports:
            port.stop()
        errors = [error for port in ports for error in port.errors]
        unclaimed = [begun for port in ports for begun in port.unclaimed]
        assert errors == [], f"a session has to raise ValueError for nonsense, and nothing else; it raised {errors!r}"
        assert unclaimed == [], f"`claims` has to be True for what the store's own client opens with: {unclaimed}"

    @pytest.fixture
    def port(self, store: Any, serve: Callable[[Any], int]) -> int:
        """Where a new service of the store is served."""
        return serve(store.serve())

    @pytest.fixture
    def connect(self, store: Any, port: int) -> Iterator[Callable[..., Any]]:
        """Makes one more client of the store; with another port, of another service."""
        made: list[Any] = []

        def connect(timeout: float = self.seconds, at: int = port) -> Any:
            made.append(Careful(store, at, timeout))
            return made[-1]

        yield connect
        for client in made:
            client.close()

    # --- keys -------------------------------------------------------------------------------------------

    def test_a_client_has_what_agents_use(self, connect: Callable[..., Any]) -> None:
        client = connect()
        lacking = [name for name in NEEDED if not callable(getattr(client.own, name, None))]
        assert lacking == [], f"a client has to have set, get and add, and lacks {lacking}"

    def test_what_one_client_sets_another_gets_as_bytes(self, connect: Callable[..., Any]) -> None:
        writer, reader = connect(), connect()
        writer.set("key", b"value")
        assert reader.get("key") == b"value", "get has to return the bytes that another client has set"

    @pytest.mark.parametrize(
        "value", [b"\0", b"\xff\x80", bytes(range(256)), LARGE], ids=["NUL", "no text", "all", "1 MB"]
    )
    def test_a_value_is_any_bytes(self, connect: Callable[..., Any], value: bytes) -> None:
        writer, reader = connect(), connect()
        writer.set("key", value)
        assert reader.get("key") == value, "a value has to come back byte for byte"

    def test_the_newest_value_counts(self, connect: Callable[..., Any]) -> None:
        client = connect()
        client.set("key", b"old")
        client.set("key", b"new")
        assert client.get("key") == b"new", "set has to replace the value that the key had"

    def test_keys_are_told_apart(self, connect: Callable[..., Any]) -> None:
        client = connect()
        keys = ["a", "A", "a/b", "a/b/c", "/a", "a.b", "a b"]
        for key in keys:
            client.set(key, key.encode())
        found = [client.get(key) for key in keys]
        assert found == [key.encode() for key in keys], "every key has to have a value of its own"

    def test_adding_begins_at_0_and_returns_the_sum(self, connect: Callable[..., Any]) -> None:
        client, other = connect(), connect()
        sums = [client.add("number", 5), other.add("number", -7), client.add("number", 1)]
        assert sums == [5, -2, -1], "add has to add to what all clients have added, from 0, and return the sum"

    def test_a_number_is_read_as_its_digits(self, connect: Callable[..., Any]) -> None:
        client = connect()
        client.add("number", 41)
        client.add("number", 1)
        assert client.get("number") == b"42", "get has to return a number that was added to as its decimal digits"

    def test_no_addition_of_many_clients_is_lost(self, connect: Callable[..., Any]) -> None:
        clients = [connect() for _ in range(CLIENTS)]
        threads = [Thread(f"client {number}") for number in range(CLIENTS)]
        calls = [thread.call(add_up, one) for thread, one in zip(threads, clients, strict=True)]
        sums: list[int] = []
        for number, call in enumerate(calls):
            sums += outcome(call, self.seconds, f"client {number}", f"{ADDITIONS} additions have to work")
        expected = list(range(1, CLIENTS * ADDITIONS + 1))
        assert sorted(sums) == expected, (
            "add has to be atomic: of clients that add at once each has to get a sum of its own"
        )

    # --- waiting ----------------------------------------------------------------------------------------

    def test_get_waits_for_what_another_client_sets(self, connect: Callable[..., Any]) -> None:
        reader, writer, thread = connect(), connect(), Thread("reader")
        waiting = thread.call(reader.get, "late")
        expected = "get has to wait for the key, and return once another client sets it"
        assert not wait([waiting], BRIEFLY).done, f"{expected}; it returned before"
        writer.set("late", b"here")
        assert outcome(waiting, self.seconds, "the reader", expected) == b"here", (
            f"{expected}; it returned another value"
        )

    def test_many_wait_for_one_key(self, connect: Callable[..., Any]) -> None:
        threads = [Thread(f"reader {number}") for number in range(CLIENTS)]
        calls = [thread.call(connect().get, "late") for thread in threads]
        assert not wait(calls, BRIEFLY).done, "get has to wait for a key that nobody has set; it returned"
        connect().set("late", b"here")
        for number, call in enumerate(calls):
            value = outcome(call, self.seconds, f"reader {number}", "get has to return once the key is set")
            assert value == b"here", "get has to give everybody who waited the value"

    def test_a_wait_that_is_too_long_raises(self, connect: Callable[..., Any]) -> None:
        client, begun = connect(BRIEFLY), monotonic()
        call = Thread("reader").call(client.own.get, "never")
        try:
            value = call.result(self.seconds)
        except Exception:
            expected = f"get has to raise once the client's timeout of {BRIEFLY} s is over"
            assert call.done(), f"{expected}; it has not returned within {self.seconds:g} s"
            assert monotonic() - begun >= BRIEFLY / 2, f"{expected}, and not at once"
        else:
            pytest.fail(f"get has to wait for a key that nobody sets, and raise in the end; it returned {value!r}")

    def test_a_client_that_is_gone_harms_nobody(self, connect: Callable[..., Any], port: int) -> None:
        connect().set("key", b"value")
        leaver = connect()
        leaver.set("left", b"behind")
        assert leaver.get("left") == b"behind", "get has to return what was set"
        leaver.close()
        with socket.create_connection(("127.0.0.1", port), self.seconds) as stranger:
            stranger.shutdown(socket.SHUT_RDWR)  # says nothing, and is gone
        found = [connect().get(key) for key in ("key", "left")]
        assert found == [b"value", b"behind"], "keys have to stay when a client goes, its own ones, too"

    # --- the service ------------------------------------------------------------------------------------

    def test_every_service_begins_empty_and_sees_nothing_of_another(
        self, store: Any, serve: Callable[[Any], int], connect: Callable[..., Any]
    ) -> None:
        first, second = connect(), connect(at=serve(store.serve()))
        first.add("number", 1)
        assert second.add("number", 1) == 1, "`serve` has to return a service over a new, empty key space"
        assert first.add("number", 1) == 2, "a new service has to leave the keys of an earlier one alone"

    def test_a_conversation_may_be_split_anywhere(self, store: Any) -> None:
        port = ServicePort(store.serve())
        port.piecemeal = True
        try:
            client = Careful(store, port.port, self.seconds)
            client.set("key", b"value")
            found = client.get("key")
            client.close()
        finally:
            port.stop()
        assert (found, port.errors) == (b"value", []), (
            "receive has to take bytes that are split anywhere, also one at a time"
        )

    def test_connections_of_agents_are_not_claimed(self, store: Any) -> None:
        claims = store.serve().claims
        wrong = [MAGIC[:length] for length in range(1, len(MAGIC) + 1) if claims(MAGIC[:length])]
        assert wrong == [], "`claims` must not be True for what agents open with: they share the port"

    @pytest.mark.parametrize(
        "nonsense", [b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n", bytes(64)], ids=["ff", "HTTP", "NUL"]
    )
    def test_nonsense_ends_its_own_conversation_at_most(
        self, serve: Callable[[Any], int], store: Any, connect: Callable[..., Any], nonsense: bytes
    ) -> None:
        service = store.serve()
        if service.claims(nonsense[:8]):
            session = service.open(Deaf())
            with suppress(ValueError):
                session.receive(nonsense)
            session.lost()
        client = connect(at=serve(service))
        client.set("key", b"value")
        assert client.get("key") == b"value", "a client that talks nonsense must not harm the others"

    # --- what torch's Store has besides ------------------------------------------------------------------

    def test_check_says_whether_all_keys_are_there(self, connect: Callable[..., Any]) -> None:
        client = having(connect(), "check")
        client.set("a", b"1")
        found = [bool(client.check(["a"])), bool(client.check(["a", "b"]))]
        assert found == [True, False], "check has to say, without waiting, whether all of the keys exist"

    def test_compare_set_replaces_what_is_as_expected(self, connect: Callable[..., Any]) -> None:
        client = having(connect(), "compare_set")
        held = [client.compare_set("k", "", "a"), client.compare_set("k", "x", "b"), client.compare_set("k", "a", "b")]
        expected = "compare_set has to replace the value only if it is as expected, and return what is held then"
        assert held == [b"a", b"a", b"b"], expected

    def test_delete_key_forgets_a_key(self, connect: Callable[..., Any]) -> None:
        client = having(connect(), "delete_key")
        client.add("k", 1)
        found = [bool(client.delete_key("k")), bool(client.delete_key("k")), client.add("k", 1)]
        assert found == [True, False, 1], "delete_key has to forget the key, and say whether it was there"


class Careful:
    """A client that fails the test, in words, where one of its methods raises: the plugin's own is `own`."""

    def __init__(self, store: Any, port: int, timeout: float) -> None:
        try:
            self.own = store.connect("127.0.0.1", port, timeout)
        except Exception as error:
            pytest.fail(f"connect has to return a client of the store served at the port; it raised {described(error)}")
        self._end = getattr(self.own, "close", None)

    def close(self) -> None:
        """Close it, once, where it can be."""
        end, self._end = self._end, None
        if callable(end):
            end()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.own, name)

        def call(*words: Any) -> Any:
            try:
                return method(*words)
            except Exception as error:
                given = ", ".join(repr(word)[:40] for word in words)
                pytest.fail(f"a client's {name}({given}) has to work here; it raised {described(error)}")

        return call


class Deaf:
    """A peer that nobody reads from."""

    address = "127.0.0.1"

    def send(self, data: bytes) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def add_up(client: Any) -> list[int]:
    """The sums of ADDITIONS additions."""
    return [client.add("number", 1) for _ in range(ADDITIONS)]


def described(error: Exception) -> str:
    """The error as a traceback's last line."""
    return f"{type(error).__name__}: {error}"


def having(client: Any, method: str) -> Any:
    """The client; the test is skipped where it has no such method."""
    if not callable(getattr(client.own, method, None)):
        pytest.skip(f"the store's clients have no {method}: agents do not need it")
    return client
