"""The store's client against the store's server, over real sockets."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import pytest

from launcher_core.runtime.serving import PortServer, listen
from launcher_plugins.c10d_store import C10dStore, launcher_declare, launcher_make_store
from launcher_plugins.c10d_store.client import StoreClient
from launcher_plugins.c10d_store.service import StoreService

SOON = 20.0
"""Seconds after which what has not happened will not."""
BRIEFLY = 0.05
"""Seconds for waits that are to run out."""


@pytest.fixture
def service() -> StoreService:
    return C10dStore().serve()


@pytest.fixture
def server(service: StoreService) -> Iterator[PortServer]:
    server = PortServer(listen("127.0.0.1", 0), [service])
    server.start()
    yield server
    server.stop(0.0)


@pytest.fixture
def connect(server: PortServer) -> Iterator[Callable[[], StoreClient]]:
    clients: list[StoreClient] = []

    def connect() -> StoreClient:
        clients.append(C10dStore().connect("127.0.0.1", server.port, SOON))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def store(connect: Callable[[], StoreClient]) -> StoreClient:
    return connect()


@pytest.fixture
def aside() -> Iterator[Callable[..., Future[object]]]:
    """Runs a call in another thread."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def test_the_plugin_makes_a_store_and_takes_no_keys():
    declaration = launcher_declare()

    assert isinstance(launcher_make_store(), C10dStore)
    assert dict(declaration.keys or {}) == {}


def test_texts_and_bytes_are_stored_and_read_as_bytes(store: StoreClient):
    store.set("text", "grüße")
    store.set("bytes", b"\x00\xff")
    store.set("empty", "")

    assert [store.get(key) for key in ("text", "bytes", "empty")] == ["grüße".encode(), b"\x00\xff", b""]


def test_a_value_of_eight_megabytes_passes_and_a_longer_one_is_not_sent(store: StoreClient):
    value = bytes(range(256)) * 32 * 1024
    store.set("k", value)

    assert store.get("k") == value
    with pytest.raises(ValueError, match="8388609"):
        store.set("k", value + b"x")
    with pytest.raises(ValueError, match="8193"):
        store.get("k" * 8192)
    assert store.get("k") == value


def test_values_are_appended(store: StoreClient):
    store.append("k", "ab")
    store.append("k", b"c")

    assert store.get("k") == b"abc"


def test_compare_set_tells_what_is_held(store: StoreClient):
    assert store.compare_set("k", "", "a") == b"a"
    assert store.compare_set("k", "x", "b") == b"a"
    assert store.compare_set("k", "a", b"b") == b"b"
    assert store.compare_set("other", "x", "b") == b"x"
    assert not store.check(["other"])


def test_keys_are_checked_counted_listed_and_deleted(store: StoreClient):
    store.multi_set({"a": "1", "b": b"2"})

    assert [store.check(["a", "b"]), store.check(["a", "c"]), store.check([])] == [True, False, True]
    assert (store.num_keys(), sorted(store.list_keys())) == (2, ["a", "b"])
    assert [store.delete_key("a"), store.delete_key("a"), store.list_keys()] == [True, False, ["b"]]


def test_many_values_are_set_and_read_together(store: StoreClient):
    pairs = {f"key{number}": f"{number}" * 100 for number in range(3000)}
    store.multi_set(pairs)

    assert store.multi_get(list(pairs)) == [value.encode() for value in pairs.values()]
    assert store.multi_get([]) == []


def test_queues_give_the_oldest_first(store: StoreClient):
    store.queue_push("q", "1")
    store.queue_push("q", b"2")

    assert [store.queue_len("q"), store.queue_pop("q"), store.queue_pop("q"), store.queue_len("q")] == [
        2,
        b"1",
        b"2",
        0,
    ]


def test_a_client_waits_for_what_another_sets(connect, aside):
    reader, writer = connect(), connect()
    value = aside(reader.get, "k")
    values = aside(connect().multi_get, ["k", "l"])
    element = aside(connect().queue_pop, "q")

    writer.set("k", "1")
    writer.set("l", "2")
    writer.queue_push("q", "3")

    assert (value.result(SOON), values.result(SOON), element.result(SOON)) == (b"1", [b"1", b"2"], b"3")


def test_every_element_is_taken_by_exactly_one_of_those_who_wait(connect, aside):
    taken = [aside(connect().queue_pop, "q") for _ in range(4)]
    writer = connect()

    for number in range(4):
        writer.queue_push("q", str(number))

    assert sorted(each.result(SOON) for each in taken) == [b"0", b"1", b"2", b"3"]


def test_a_barrier_lets_all_pass_together(connect, aside):
    passed = [aside(connect().barrier, "bar", 3) for _ in range(2)]

    connect().barrier("bar", 3)

    assert [each.result(SOON) for each in passed] == [None, None]


# --- time


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda store: store.wait(["here", "a", "b"], BRIEFLY), "waited 0.05 s for keys 'a', 'b'"),
        (lambda store: store.get("a", BRIEFLY), "waited 0.05 s for key 'a'"),
        (lambda store: store.multi_get(["here", "b"], BRIEFLY), "waited 0.05 s for key 'b'"),
        (lambda store: store.queue_pop("q", BRIEFLY), "for key 'q'"),
        (lambda store: store.wait([f"k{n}" for n in range(10)], BRIEFLY), "'k0', .*, 'k7' and 2 more"),
        (lambda store: store.barrier("bar", 3, BRIEFLY), "barrier 'bar', where 1 of 3 have arrived"),
    ],
    ids=["wait", "get", "multi_get", "queue_pop", "many", "barrier"],
)
def test_a_wait_that_runs_out_names_what_is_missing_and_leaves_the_client_usable(
    store: StoreClient, call: Callable[[StoreClient], object], text: str
):
    store.set("here", "1")

    with pytest.raises(TimeoutError, match=text):
        call(store)

    assert store.get("here") == b"1"


def test_a_wait_without_a_time_of_its_own_takes_the_clients(store: StoreClient):
    store.timeout = BRIEFLY

    with pytest.raises(TimeoutError, match=r"waited 0\.05 s"):
        store.get("k")


def test_what_is_there_is_had_though_no_time_is_given(store: StoreClient):
    store.set("k", "1")

    assert store.get("k", 0.0) == b"1"


def test_connecting_tries_until_the_server_is_there(service: StoreService, aside):
    [listener] = listen("127.0.0.1", 0)
    client = aside(StoreClient, "127.0.0.1", listener.getsockname()[1], SOON)
    first, _ = listener.accept()
    first.close()  # and the first try has failed

    server = PortServer([listener], [service])
    server.start()
    with closing(client.result(SOON)) as store:
        store.set("k", "1")
        assert store.get("k") == b"1"
    server.stop()


def test_a_server_that_does_not_come_is_named(service: StoreService):
    [listener] = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()

    with pytest.raises(TimeoutError, match=f"127.0.0.1:{port}: no connection within 0.05 s .*refused"):
        StoreClient("127.0.0.1", port, BRIEFLY)


def test_a_server_that_does_not_answer_is_given_up():
    [listener] = listen("127.0.0.1", 0)
    with listener, pytest.raises(TimeoutError, match="it does not answer"):
        StoreClient("127.0.0.1", listener.getsockname()[1], BRIEFLY)


def test_what_answers_but_is_no_store_is_told():
    [listener] = listen("127.0.0.1", 0)

    def answer() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.sendall(b"SSH-2.0-OpenSSH\r\n")
                client.recv(64)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        with pytest.raises(TimeoutError, match="what answers there is no store"):
            StoreClient("127.0.0.1", listener.getsockname()[1], 0.3)
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


# --- the connection


def test_a_lost_connection_is_told_and_stays_lost(store: StoreClient, server: PortServer):
    server.stop()

    with pytest.raises(ConnectionError, match="the connection is lost"):
        store.get("k")
    with pytest.raises(ConnectionError, match="the connection is closed"):
        store.get("k")


def test_who_waits_is_told_when_the_server_ends(store: StoreClient, server: PortServer, aside, connect):
    waiting = aside(connect().get, "k")
    store.set("other", "")
    server.stop()

    with pytest.raises(ConnectionError, match="the server closed it"):
        waiting.result(SOON)


def test_adding_to_a_text_costs_the_client_its_connection_and_others_nothing(connect):
    one, other = connect(), connect()
    one.set("n", "text")

    with pytest.raises(ConnectionError, match=re.escape("refused the last request")):
        one.add("n", 1)

    assert other.get("n") == b"text"


def test_threads_may_share_a_client(store: StoreClient):
    def work(name: int) -> list[bytes]:
        for number in range(50):
            store.set(f"{name}/{number}", f"{name}/{number}")
        return [store.get(f"{name}/{number}") for number in range(50)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [
            [f"{name}/{number}".encode() for number in range(50)] for name in range(8)
        ]


def test_a_fresh_service_does_not_know_the_keys_of_the_one_before(connect, server, service):
    old = connect()
    old.set("k", "1")
    assert old.get("k") == b"1"

    server.replace(service, C10dStore().serve())

    assert connect().num_keys() == 0
    with pytest.raises(ConnectionError):
        old.num_keys()


def test_a_client_closes_with_its_block(server: PortServer):
    with StoreClient("127.0.0.1", server.port, SOON) as store:
        store.set("k", "1")

    with pytest.raises(ConnectionError, match="closed"):
        store.set("k", "2")
