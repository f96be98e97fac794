"""A register in a real etcd: swaps, entries, leases, watches, and that nothing stays behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from time import monotonic

import pytest
from etcd import Cluster
from launches import until

from launcher_core.errors import RendezvousConnectionError
from launcher_plugins.etcd.parts import writing


def test_there_is_no_state_at_first(etcd: Cluster, open_register) -> None:
    assert open_register(etcd.endpoint).get_state() is None


def test_the_first_swap_wins_and_the_second_gets_the_truth(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)

    state, token, won = one.set_state(b"one")
    assert (state, won) == (b"one", True)
    assert two.set_state(b"two") == (b"one", token, False)
    assert two.get_state() == (b"one", token)


def test_a_swap_with_a_stale_token_loses_and_returns_the_truth(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    _, old, _ = one.set_state(b"one")
    _, new, _ = two.set_state(b"two", old)

    assert one.set_state(b"three", old) == (b"two", new, False)


def test_a_swap_with_a_token_for_a_state_that_is_gone_returns_none(etcd: Cluster, open_register) -> None:
    register = open_register(etcd.endpoint)

    assert register.set_state(b"one", 12345) is None


def test_states_are_bytes_of_any_kind(etcd: Cluster, open_register) -> None:
    register, all_bytes = open_register(etcd.endpoint), bytes(range(256))
    register.set_state(all_bytes)

    assert open_register(etcd.endpoint).get_state()[0] == all_bytes


def test_jobs_do_not_see_each_other(etcd: Cluster, open_register) -> None:
    open_register(etcd.endpoint, "a").set_state(b"a")
    register = open_register(etcd.endpoint, "a/state")
    register.enter("n", b"")

    assert register.get_state() is None
    assert dict(register.entries()) == {"n": b""}


def test_the_watch_tells_of_a_new_state(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    told = threading.Event()
    two.watch(told.set)
    assert two.get_state() is None

    _, token, _ = one.set_state(b"one")

    assert told.wait(10)
    until(lambda: two.get_state() == (b"one", token), "the second sees the state", 5)


def test_the_oldest_entry_leads(etcd: Cluster, open_register) -> None:
    nodes = [open_register(etcd.endpoint) for _ in range(3)]
    for number, node in enumerate(nodes):
        node.enter(f"n{2 - number}", b"entry %d" % number)

    assert [node.leads() for node in nodes] == [True, False, False]
    expected = [("n2", b"entry 0"), ("n1", b"entry 1"), ("n0", b"entry 2")]
    assert [list(node.entries().items()) for node in nodes] == [expected] * 3


def test_an_entry_that_is_replaced_keeps_its_age(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    one.enter("a", b"1")
    two.enter("b", b"1")
    told = threading.Event()
    one.watch(told.set)
    assert (one.leads(), two.leads()) == (True, False)
    assert list(one.entries()) == ["a", "b"]

    two.enter("b", b"2")
    one.enter("a", b"2")

    assert told.wait(10)
    until(lambda: list(one.entries().items()) == [("a", b"2"), ("b", b"2")], "the leader sees both", 5)
    assert one.leads()


def test_a_write_that_comes_late_does_not_undo_a_later_one(etcd: Cluster, open_register) -> None:
    one = open_register(etcd.endpoint)
    one.enter("a", b"1")
    one.enter("a", b"2")
    late = [writing(one._mine, b"1", one._leases.node, over) for over in (0, one._written - 1)]

    assert [etcd.post("/v3/kv/txn", request).get("succeeded", False) for request in late] == [False, False]
    assert dict(one.entries()) == {"a": b"2"}


def test_an_entry_that_somebody_else_wrote_is_written_over(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    one.enter("a", b"1")
    two.enter("a", b"2")
    one.enter("a", b"3")

    assert dict(two.entries()) == {"a": b"3"}


def test_names_may_hold_anything(etcd: Cluster, open_register) -> None:
    register = open_register(etcd.endpoint)
    register.enter("a/b c%\u00e9\n", b"x")

    assert dict(register.entries()) == {"a/b c%\u00e9\n": b"x"}


def test_an_entry_outlives_its_lease_time_while_its_node_lives(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    one.enter("a", b"")
    begin = one.held_since()

    until(lambda: one.held_since() > begin + 1.5 * one.lease_seconds, "the lease is kept alive", 10)

    assert dict(two.entries()) == {"a": b""}
    assert one.held_since() <= monotonic()


def test_who_is_not_heard_of_any_more_loses_its_entry_and_its_lead(etcd: Cluster, open_register) -> None:
    one, two, three = (open_register(etcd.endpoint) for _ in range(3))
    told = threading.Event()
    for id, node in (("a", one), ("b", two), ("c", three)):
        node.enter(id, b"")
    two.watch(told.set)
    assert [one.leads(), two.leads(), three.leads()] == [True, False, False]

    one.close()

    assert told.wait(20)
    until(two.leads, "the lead passes on", 5)
    assert list(two.entries()) == ["b", "c"]
    assert not three.leads()


def test_only_the_next_one_is_told_of_an_end(etcd: Cluster, open_register) -> None:
    one, two, three = (open_register(etcd.endpoint) for _ in range(3))
    told: list[str] = []
    for id, node in (("a", one), ("b", two), ("c", three)):
        node.enter(id, b"")
        node.watch(lambda id=id: told.append(id))
    assert [one.leads(), two.leads(), three.leads()] == [True, False, False]
    until(lambda: all(one._watcher.covering for one in (two, three)), "both follow", 5)

    one.withdraw()

    until(lambda: "b" in told, "the next is told", 5)
    assert (two.leads(), three.leads()) == (True, False)
    assert "c" not in told


def test_a_lease_that_is_gone_is_known_and_the_next_entry_is_a_new_one(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    told = threading.Event()
    one.watch(told.set)
    one.enter("a", b"")
    two.enter("b", b"")
    assert one.leads()

    etcd.post("/v3/lease/revoke", {"ID": one._leases.node})

    until(lambda: one.held_since() == float("-inf"), "the loss is noticed", 10)
    assert told.wait(5)
    assert not one.leads()
    one.enter("a", b"again")
    assert one.held_since() > 0
    assert list(one.entries().items()) == [("b", b""), ("a", b"again")]
    assert (one.leads(), two.leads()) == (False, True)


def test_who_has_lost_its_entry_cannot_write(etcd: Cluster, open_register) -> None:
    one = open_register(etcd.endpoint, lease_ttl="60")
    one.enter("a", b"")
    _, token, _ = one.set_state(b"1")

    etcd.post("/v3/lease/revoke", {"ID": one._leases.node})

    assert one.set_state(b"2", token) == (b"1", token, False)
    assert one.held_since() == float("-inf")
    assert one.set_state(b"2", token) == (b"1", token, False)
    one.enter("a", b"")
    assert one.set_state(b"2", token)[2]


def test_the_last_to_withdraw_takes_everything_away(etcd: Cluster, open_register) -> None:
    before = set(etcd.keys())
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    one.enter("a", b"")
    two.enter("b", b"")
    one.set_state(b"state")

    one.withdraw()
    assert two.get_state()[0] == b"state"
    assert list(two.entries()) == ["b"]
    two.withdraw()

    assert set(etcd.keys()) == before
    assert two.get_state() is None
    assert two.held_since() == float("-inf")


def test_who_has_withdrawn_can_come_again(etcd: Cluster, open_register) -> None:
    one = open_register(etcd.endpoint)
    one.enter("a", b"1")
    one.withdraw()
    one.enter("a", b"1")

    assert (one.leads(), dict(one.entries())) == (True, {"a": b"1"})
    assert one.held_since() > 0


def test_who_could_not_withdraw_can_come_again(etcd: Cluster, open_register) -> None:
    one = open_register(etcd.endpoint)
    one.enter("a", b"1")
    etcd.signal(0, signal.SIGSTOP)
    try:
        with pytest.raises(RendezvousConnectionError):
            one.withdraw()
    finally:
        etcd.signal(0, signal.SIGCONT)
    assert one.held_since() == float("-inf")

    until(lambda: attempt(lambda: one.enter("a", b"2")), "it enters", 20)

    assert (one.leads(), dict(one.entries())) == (True, {"a": b"2"})
    assert one.held_since() > 0


def attempt(act: Callable[[], object]) -> bool:
    """Whether etcd was reached."""
    try:
        act()
    except RendezvousConnectionError:
        return False
    return True


def test_nothing_stays_when_all_nodes_are_killed(etcd: Cluster, open_register) -> None:
    one = open_register(etcd.endpoint)
    one.enter("a", b"")
    one.set_state(b"state")
    lease = one._leases.state

    one.close()

    left = etcd.post("/v3/lease/timetolive", {"ID": lease, "keys": True})
    assert int(left["grantedTTL"]) == 20
    assert len(left["keys"]) == 1


def test_a_gap_in_the_watch_is_made_up_for(etcd: Cluster, open_register) -> None:
    one, two = open_register(etcd.endpoint), open_register(etcd.endpoint)
    one.enter("a", b"")
    assert one.leads()
    one.entries()
    until(lambda: one._watcher.covering, "it follows", 5)
    two.enter("b", b"1")
    _, token, _ = two.set_state(b"1")
    _, token, _ = two.set_state(b"2", token)
    etcd.post("/v3/kv/compaction", {"revision": token})

    with one._watcher._changed:  # as if the stream had hung all the while
        one._watcher._next = dict.fromkeys(one._watcher._next, 1)
    one._gateway.cut(one._watcher._thread)

    until(lambda: one.get_state() == (b"2", token), "the state is read afresh", 5)
    until(lambda: list(one.entries()) == ["a", "b"], "the entries are read afresh", 5)
    until(lambda: one._watcher.covering, "it follows again", 5)


def test_what_a_node_costs_does_not_grow_with_the_job(etcd: Cluster, open_register) -> None:
    nodes = [open_register(etcd.endpoint, lease_ttl="60") for _ in range(12)]
    for number, node in enumerate(nodes):
        node.enter(f"n{number:02}", b"x" * 200)
        node.leads()
        until(lambda node=node: node._watcher.covering, "it follows", 5)
    costs = [(node._gateway.traffic.requests, node._gateway.traffic.received) for node in nodes]

    assert len({requests for requests, _ in costs[1:]}) == 1
    assert max(size for _, size in costs[1:]) - min(size for _, size in costs[1:]) < 100


def test_it_says_from_where_it_reaches_etcd(etcd: Cluster, open_register) -> None:
    register = open_register(etcd.endpoint)
    assert register.local_address() == ""

    register.get_state()

    assert register.local_address().startswith("127.")


def test_its_threads_end_with_it(etcd: Cluster, open_register) -> None:
    before = set(threading.enumerate())
    register = open_register(etcd.endpoint)
    register.enter("a", b"")
    register.leads()
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"etcd-lease", "etcd-watch"}

    register.close()

    assert set(threading.enumerate()) == before
