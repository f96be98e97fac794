"""How nodes find each other: exactly one hosts, whatever the endpoint is spelled like."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from jobs import PORT, Job
from launches import Running, until

Make = Callable[..., Job]

EXIT_USAGE = 2


def hosts(job: Job) -> list[int]:
    """The nodes that listen at the job's port, once for each socket that does."""
    return [node.number for node in job.nodes for _ in range(node.listens(PORT))]


def tries(running: Running) -> bool:
    """Whether the agent has the thread that connects to the host."""
    return len(os.listdir(f"/proc/{running.pid}/task")) > 1


def name_head(job: Job, *addresses: str, known_to: tuple[int, ...] = (0, 1, 2)) -> None:
    """Have these nodes know `head`, under more than one name, as these addresses."""
    job.nodes.name_all([(address, "head head.cluster.test boss") for address in addresses], known_to)


@pytest.mark.parametrize(
    "endpoint", ["node0", "head.cluster.test", "BOSS", "10.78.0.11", "10.79.0.11", "[fd00:78::11]:29400"]
)
def test_exactly_one_node_hosts_however_the_endpoint_is_spelled(job: Make, endpoint: str) -> None:
    meets = job(3, "3")
    meets.endpoint = endpoint
    name_head(meets, "10.78.0.11")
    running = [meets.start(number) for number in (2, 1, 0)]
    group = meets.await_group(0, 1, 2)
    assert hosts(meets) == [0]
    if endpoint != "node0":  # which has two addresses
        assert {note.address for note in group} == {endpoint.removesuffix(":29400").strip("[]")}
    meets.end(running)


def test_a_name_of_several_addresses_is_given_to_workers_as_the_one_that_was_reached(job: Make) -> None:
    meets = job(3, "3")
    meets.endpoint = "head"
    name_head(meets, "10.80.0.99", "10.79.0.11", "fd00:78::11")
    running = meets.start_all()
    group = meets.await_group(0, 1, 2)
    assert hosts(meets) == [0]
    assert {note.address for note in group if note.node != "node0"} <= {"10.79.0.11", "fd00:78::11"}
    meets.end(running)


def test_agents_wait_for_a_name_that_nobody_knows_yet(job: Make) -> None:
    late = job(3, "3")
    late.endpoint = "head"
    running = late.start_all()
    for one in running:
        until(lambda one=one: "nobody answers at head:29400" in one.err, "the agent says what it waits for")
    for number in (2, 1, 0):
        name_head(late, "10.78.0.11", known_to=(number,))
    late.await_group(0, 1, 2)
    assert hosts(late) == [0]
    late.end(running)


def test_a_name_that_comes_to_be_the_loopback_is_refused_then(job: Make) -> None:
    late = job(2, "1:2")
    late.endpoint = "head"
    running = late.start(1)
    until(lambda: tries(running), "the agent looks for the name")
    name_head(late, "127.0.0.1", known_to=(1,))
    result = running.wait()
    assert result.code == EXIT_USAGE
    assert "head is 127.0.0.1 here, which other nodes cannot reach" in result.err


def test_of_two_agents_on_the_machine_that_a_name_comes_to_be_one_hosts_and_the_other_is_its_guest(job: Make) -> None:
    late = job(1, "2")
    late.endpoint = "head"
    running = [late.start(0), late.start(0)]
    for one in running:
        until(lambda one=one: tries(one), "the agent looks for the name")
    name_head(late, "10.78.0.11", known_to=(0,))
    group = late.await_group(0)
    assert (len(group), hosts(late)) == (2, [0])
    late.end(running)


def test_an_endpoint_that_is_the_loopback_of_each_node_is_refused_with_the_cause(job: Make) -> None:
    alone = job(2, "2")
    alone.endpoint = "head"
    name_head(alone, "127.0.0.1", known_to=(0, 1))
    for one in alone.start_all():
        result = one.wait()
        assert result.code == EXIT_USAGE
        assert "head is 127.0.0.1 here, which other nodes cannot reach" in result.err
        assert "/etc/hosts" in result.err


def test_a_node_whose_own_name_is_its_loopback_hosts_for_the_others(job: Make) -> None:
    debian = job(3, "3")
    debian.nodes[0].knows([("127.0.1.1", "node0"), *((node.address, node.name) for node in debian.nodes[1:])])
    running = debian.start_all()
    debian.await_group(0, 1, 2)
    assert hosts(debian) == [0]
    debian.end(running)


@pytest.mark.parametrize("family", ["4", "6"])
def test_nodes_of_one_family_meet(job: Make, family: str) -> None:
    meets = job(3, "3")
    for node in meets.nodes:
        node.speaks_only(family)
    running = meets.start_all()
    meets.await_group(0, 1, 2)
    assert hosts(meets) == [0]
    meets.end(running)


def test_nodes_of_one_family_each_meet_at_a_host_of_both(job: Make) -> None:
    mixed = job(3, "3")
    mixed.nodes[1].speaks_only("4")
    mixed.nodes[2].speaks_only("6")
    running = mixed.start_all()
    mixed.await_group(0, 1, 2)
    assert hosts(mixed) == [0]
    mixed.end(running)


def test_agents_start_before_their_host(job: Make) -> None:
    waits = job(3, "3")
    running = [waits.start(1), waits.start(2)]
    for one in running:
        until(lambda one=one: tries(one), "the agent looks for the host")
    running.append(waits.start(0))
    waits.await_group(0, 1, 2)
    waits.end(running)
