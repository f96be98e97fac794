"""Swaps whose answer is lost on the way: whether they took place is found out, and said truly."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator

import pytest
from etcd import Cluster


class Proxy(http.server.ThreadingHTTPServer):
    """Stands before an etcd; loses what the test has it lose."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Way)
        self.target = target
        self.lose = ""
        """`request` or `answer` of the next transaction that writes."""

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class Way(http.server.BaseHTTPRequestHandler):
    """One connection through the proxy."""

    server: Proxy
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lose = self.server.lose if self.path.endswith("/txn") and b"request_put" in body else ""
        if lose:
            self.server.lose = ""
        self.close_connection = bool(lose)
        if lose == "request":
            return
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{self.server.target}{self.path}", body, timeout=10) as response:
            answer = response.read()
        if lose == "answer":
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(etcd: Cluster) -> Iterator[Proxy]:
    with Proxy(etcd.host(0)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_swap_that_took_place_is_known_by_what_was_written(etcd: Cluster, proxy: Proxy, open_register) -> None:
    register = open_register(f"{proxy.place},{etcd.host(0)}", lease_ttl="30")
    _, token, _ = register.set_state(b"1")
    proxy.lose = "answer"

    state, newer, won = register.set_state(b"2", token)

    assert (state, won, proxy.lose) == (b"2", True, "")
    assert newer > token
    assert register.set_state(b"3", newer)[2]


def test_a_swap_that_never_came_is_lost(etcd: Cluster, proxy: Proxy, open_register) -> None:
    register = open_register(f"{proxy.place},{etcd.host(0)}", lease_ttl="30")
    _, token, _ = register.set_state(b"1")
    proxy.lose = "request"

    assert register.set_state(b"2", token) == (b"1", token, False)
    assert register.set_state(b"2", token)[2]


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_the_same_state_by_another_node_is_not_taken_for_this_ones(
    etcd: Cluster, proxy: Proxy, open_register, lost: str
) -> None:
    one = open_register(f"{proxy.place},{etcd.host(0)}", lease_ttl="30")
    two = open_register(etcd.endpoint, lease_ttl="30")
    _, token, _ = one.set_state(b"1")
    _, theirs, _ = two.set_state(b"2", token)
    proxy.lose = lost

    assert one.set_state(b"2", token) == (b"2", theirs, False)


@pytest.mark.parametrize("lost", ["request", "answer"])
def test_an_entry_whose_answer_is_lost_is_put_up_once(etcd: Cluster, proxy: Proxy, open_register, lost: str) -> None:
    one = open_register(f"{proxy.place},{etcd.host(0)}", lease_ttl="30")
    two = open_register(etcd.endpoint, lease_ttl="30")
    proxy.lose = lost
    one.enter("a", b"1")
    two.enter("b", b"1")

    assert (one.leads(), two.leads()) == (True, False)
    assert dict(two.entries()) == {"a": b"1", "b": b"1"}
    proxy.lose = lost
    one.enter("a", b"2")
    assert dict(two.entries()) == {"a": b"2", "b": b"1"}
