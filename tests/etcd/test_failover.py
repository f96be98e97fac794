"""A register on a cluster whose members are killed, frozen and started again; and one behind TLS and users."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd import PASSWORDS, Cluster
from launches import until

from launcher_core.errors import RendezvousConnectionError
from launcher_plugins.etcd.register import EtcdRegister


def swap(register: EtcdRegister, state: bytes) -> None:
    """Swap until it is won, as a node does. The register must say the truth about every attempt."""

    def won() -> bool:
        try:
            found = register.get_state()
            if found is not None and found[0] == state:
                return True  # an attempt that was reported as lost: it must not have been
            done = register.set_state(state, found[1] if found else None)
        except RendezvousConnectionError:
            return False
        return done is not None and done[2]

    until(won, "a swap is won", 30)


def break_off(cluster: Cluster, index: int, signum: int) -> Callable[[], None]:
    """Kill or freeze a member; what brings it back."""
    if signum == signal.SIGKILL:
        cluster.kill(index)
        return lambda: (cluster.start(index), cluster.ready(index))[0]
    cluster.signal(index, signum)
    return lambda: (cluster.signal(index, signal.SIGCONT), cluster.ready(index))[0]


@pytest.fixture
def pair(three: Cluster, open_register) -> Iterator[tuple[EtcdRegister, EtcdRegister, threading.Event]]:
    """Two nodes that have met; the event is set when the second is told of something."""
    one, two = open_register(three.endpoint, lease_ttl="12"), open_register(three.endpoint, lease_ttl="12")
    told = threading.Event()
    two.watch(told.set)
    one.enter("a", b"1")
    two.enter("b", b"1")
    assert (one.leads(), two.leads()) == (True, False)
    swap(one, b"first")
    until(lambda: two.get_state() is not None, "the second sees the state", 5)
    until(lambda: one._watcher.covering and two._watcher.covering, "both follow", 5)
    told.clear()
    yield one, two, told


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("whose", ["the leader", "the one that is asked"])
def test_the_loss_of_one_member_is_got_over(three: Cluster, pair, signum: int, whose: str) -> None:
    one, two, told = pair
    lost = three.leader() if whose == "the leader" else 0
    bring_back = break_off(three, lost, signum)
    try:
        swap(one, b"second")

        assert told.wait(30)
        until(lambda: two.get_state()[0] == b"second", "the second sees it", 30)
        before = two.held_since()
        until(lambda: two.held_since() > before, "leases are kept alive", 30)
        assert (one.leads(), two.leads()) == (True, False)
        assert list(one.entries()) == ["a", "b"]
        one.enter("a", b"2")
        until(lambda: one.entries()["a"] == b"2", "entries can be replaced", 30)
    finally:
        bring_back()


def test_without_a_majority_it_cannot_be_reached_until_there_is_one(three: Cluster, open_register) -> None:
    register = open_register(three.endpoint, lease_ttl="2")
    assert register.get_state() is None
    back = [break_off(three, index, signal.SIGSTOP) for index in (1, 2)]
    try:
        with pytest.raises(RendezvousConnectionError, match=r"no etcd answered within 1 s \("):
            register.enter("a", b"")
    finally:
        for bring in back:
            bring()

    swap(register, b"again")


def test_all_members_are_started_again(three: Cluster, pair) -> None:
    one, two, told = pair
    for index in range(3):
        three.kill(index)
    for index in range(3):
        three.start(index)
    three.ready()

    swap(one, b"again")

    assert told.wait(30)
    until(lambda: two.get_state()[0] == b"again", "the second sees it", 30)
    assert list(one.entries()) == ["a", "b"]


def test_a_member_that_never_answered_is_passed_over(three: Cluster, open_register) -> None:
    dead = f"{three.address}:1"
    register = open_register(f"{dead},{three.host(1)}")

    assert register.get_state() is None


def test_tls_and_users_and_a_token_that_is_forgotten(tmp_path: Path, open_register) -> None:
    with Cluster(tmp_path / "etcd", tls=True) as cluster:
        cluster.ask_for_users()
        files = {"ca_cert": "ca.pem", "ssl_cert": "client.pem", "ssl_cert_key": "client.key"}
        secret = tmp_path / "password"
        secret.write_text(PASSWORDS["launcher"] + "\n")
        conf = {key: str(cluster.folder / name) for key, name in files.items()}
        conf |= {"user": "launcher", "password_file": str(secret), "lease_ttl": "12"}
        one, two = open_register(cluster.endpoint, **conf), open_register(cluster.endpoint, **conf)
        told = threading.Event()
        two.watch(told.set)
        one.enter("a", b"1")
        two.enter("b", b"1")
        assert (one.leads(), two.leads()) == (True, False)

        cluster.kill(0)
        cluster.start(0)
        cluster.ready()
        swap(one, b"state")

        assert told.wait(30)
        until(lambda: two.get_state()[0] == b"state", "the second sees it", 30)
        two.withdraw()
        one.withdraw()
        assert cluster.keys(cluster.login()) == []
        assert PASSWORDS["launcher"] not in repr(one._gateway.access)
