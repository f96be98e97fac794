"""The contract of a rendezvous that runs by itself: several nodes meet, meet again, grow, and part."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from launcher_core.model.capability import Capability
from launcher_core.testing.contract import Contract, Thread, outcome

PATIENCE = 60.0
"""Seconds that nodes wait for each other, where a test does not want them to give up."""
BRIEFLY = 0.5
"""Seconds for waits that are to run out."""


class Member:
    """One node: a handler, and the one thread that makes all calls to it."""

    def __init__(self, name: str, handler: Any, seconds: float) -> None:
        self.name = name
        self.handler = handler
        self._seconds = seconds
        self._thread = Thread(name)
        self._shut = False

    def joins(self) -> Future[Any]:
        """Have it wait for the next round."""
        return self._thread.call(self.handler.next_rendezvous)

    def asks(self, method: str, expected: str = "it must not raise") -> Any:
        """What a method of the handler returns; fails the test when it raises, or takes too long."""
        call = self._thread.call(getattr(self.handler, method))
        return outcome(call, self._seconds, self.name, f"{method}(): {expected}")

    def does(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """Have the node's thread call this."""
        return self._thread.call(function, *args)

    def shutdown(self) -> Any:
        """What shutdown returned."""
        self._shut = True
        return self.asks("shutdown", "it has to release everything")

    def end(self) -> None:
        """Shut down what has not been, as far as that works, and end the thread."""
        if not self._shut:
            self._thread.call(self.handler.shutdown)
        self._thread.end(BRIEFLY)


class RendezvousHandlerContract(Contract):
    """A plugin whose `launcher_make_rendezvous` returns a RendezvousHandler of torch elastic's shape.

    Fixture `make_handler`: a function (run_id, min_nodes, max_nodes, timeout) that returns the handler of one more
    node of that run. `timeout`: seconds that next_rendezvous waits for nodes that lack. With more nodes than
    `min_nodes` possible it should not wait long for them (torch's last_call_timeout): a second is plenty.

    With ELASTIC, the tests of a job that grows are run.
    """

    @pytest.fixture
    def make_handler(self) -> Callable[[str, int, int, float], Any]:
        """Makes the handler of one more node, for a run id, a number of nodes, and a patience in seconds."""
        raise NotImplementedError("give a fixture make_handler: (run_id, min_nodes, max_nodes, timeout) -> handler")

    @pytest.fixture
    def run_id(self) -> str:
        """A job that nobody has heard of."""
        return f"kit-{uuid4().hex[:12]}"

    @pytest.fixture
    def nodes(self, make_handler: Callable[..., Any], run_id: str) -> Iterator[Callable[..., list[Member]]]:
        """Makes nodes of this test's run, or of another, and ends them after the test."""
        made: list[Member] = []

        def make(count: int, low: int, high: int, timeout: float = PATIENCE, run: str = run_id) -> list[Member]:
            new = [
                Member(f"node {number}", make_handler(run, low, high, timeout), self.seconds)
                for number in range(len(made), len(made) + count)
            ]
            made.extend(new)
            return new

        yield make
        for one in made:
            one.end()

    def meet(self, nodes: Sequence[Member], why: str) -> list[Any]:
        """What next_rendezvous gives each of the nodes, when all call it; in their order."""
        calls = [node.joins() for node in nodes]
        expected = f"next_rendezvous has to return the round of {why}"
        return [outcome(call, self.seconds, node.name, expected) for node, call in zip(nodes, calls, strict=True)]

    # --- one round --------------------------------------------------------------------------------------

    def test_it_has_the_name_it_is_selected_by(self, nodes: Callable[..., list[Member]]) -> None:
        name = nodes(1, 1, 1)[0].asks("get_backend")
        assert isinstance(name, str), "get_backend has to return the text that --rdzv-backend selects it by"
        assert name, "get_backend has to return the text that --rdzv-backend selects it by, and returns an empty one"

    def test_it_knows_its_run(self, nodes: Callable[..., list[Member]], run_id: str) -> None:
        assert nodes(1, 1, 1)[0].asks("get_run_id") == run_id, "get_run_id has to return the id of the job"

    def test_a_node_alone_has_rank_0_of_1(self, nodes: Callable[..., list[Member]]) -> None:
        (info,) = self.meet(nodes(1, 1, 1), "one node")
        assert (info.rank, info.world_size) == (0, 1), "a job of one node has one rank: it has to be 0 of 1"
        check_where([info])

    @pytest.mark.parametrize("count", [2, 3])
    def test_nodes_that_meet_have_dense_unique_ranks_in_one_world(
        self, nodes: Callable[..., list[Member]], count: int
    ) -> None:
        check_ranks(self.meet(nodes(count, count, count), f"{count} nodes"))

    def test_all_nodes_are_told_one_bootstrap_address(self, nodes: Callable[..., list[Member]]) -> None:
        check_where(self.meet(nodes(2, 2, 2), "2 nodes"))

    def test_an_agent_store_is_served_at_the_bootstrap_address(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        infos = self.meet(pair, "2 nodes")
        shared = [getattr(node.handler, "use_agent_store", False) for node in pair]
        assert len(set(shared)) == 1, f"use_agent_store has to be the same on every node of a round, and is {shared}"
        if not shared[0]:
            pytest.skip("use_agent_store is False: worker rank 0 serves the workers' store")
        check_served(infos, BRIEFLY * 10)

    def test_nodes_of_a_round_share_its_store(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        check_store(pair, self.meet(pair, "2 nodes"), self.seconds)

    def test_a_round_that_is_complete_has_nobody_waiting(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        self.meet(pair, "2 nodes")
        waiting = [node.asks("num_nodes_waiting") for node in pair]
        assert waiting == [0, 0], "num_nodes_waiting has to be 0 once everybody is in: more has the workers restarted"

    def test_jobs_of_other_run_ids_do_not_meet(self, nodes: Callable[..., list[Member]], run_id: str) -> None:
        both = nodes(1, 1, 1) + nodes(1, 1, 1, run=f"{run_id}-2")
        for info in self.meet(both, "one node in each of two jobs"):
            assert (info.rank, info.world_size) == (0, 1), "nodes of another run id are another job's"

    # --- the next round ---------------------------------------------------------------------------------

    def test_nodes_meet_again(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        for number in (1, 2, 3):
            infos = self.meet(pair, f"the same 2 nodes (round {number})")
            check_ranks(infos)
            check_where(infos)

    def test_the_store_begins_empty_in_every_round(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        for number in (1, 2):
            check_store(pair, self.meet(pair, f"the same 2 nodes (round {number})"), self.seconds)

    # --- more nodes -------------------------------------------------------------------------------------

    def test_a_node_that_comes_later_is_seen_by_those_that_run(self, nodes: Callable[..., list[Member]]) -> None:
        self.need(Capability.ELASTIC)
        running = nodes(2, 2, 3)
        self.meet(running, "2 of at most 3 nodes")
        (newcomer,) = nodes(1, 2, 3)
        newcomer.joins()
        self.see_somebody_waiting(running)

    def test_a_node_that_joins_a_running_job_gets_in_and_all_share_one_world_and_one_store(
        self, nodes: Callable[..., list[Member]]
    ) -> None:
        self.need(Capability.ELASTIC)
        everybody = nodes(1, 1, 3)
        self.meet(everybody, "1 of at most 3 nodes")
        for size in (2, 3):
            (newcomer,) = nodes(1, 1, 3)
            call = newcomer.joins()
            self.see_somebody_waiting(everybody)
            infos = self.meet(everybody, f"{size} nodes, one of them new to a running job")
            expected = f"next_rendezvous has to let a node into a running job, as one of {size}"
            infos.append(outcome(call, self.seconds, f"the newcomer, {newcomer.name}", expected))
            everybody = [*everybody, newcomer]
            check_ranks(infos)
            check_where(infos)
            check_store(everybody, infos, self.seconds)
            if getattr(newcomer.handler, "use_agent_store", False):
                check_served(infos, BRIEFLY * 10)

    def see_somebody_waiting(self, running: Sequence[Member]) -> None:
        """Wait until every node that runs knows that somebody wants to be let in."""
        for node in running:
            self.until(
                partial(somebody_waits, node),
                f"{node.name}: num_nodes_waiting has to be more than 0 while a newcomer waits in next_rendezvous",
            )

    # --- the end ----------------------------------------------------------------------------------------

    def test_a_job_is_open_until_it_is_closed_and_then_closed_for_everybody(
        self, nodes: Callable[..., list[Member]]
    ) -> None:
        one, other = nodes(2, 2, 2)
        self.meet([one, other], "2 nodes")
        before = [one.asks("is_closed"), other.asks("is_closed")]
        assert before == [False, False], "is_closed has to be False while the job runs"
        one.asks("set_closed")
        assert one.asks("is_closed"), "is_closed has to be True once this node has closed the job"
        self.until(
            lambda: other.asks("is_closed"), "is_closed has to become True on every node once one closed the job"
        )

    def test_nobody_joins_a_job_that_is_closed(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        self.meet(pair, "2 nodes")
        pair[0].asks("set_closed")
        self.until(
            lambda: pair[1].asks("is_closed"), "is_closed has to become True on every node once one closed the job"
        )
        for node in pair:
            check_raises("RendezvousClosedError", node, node.joins(), self.seconds, "the job has been closed")

    def test_too_few_nodes_are_a_timeout(self, nodes: Callable[..., list[Member]]) -> None:
        (node,) = nodes(1, 2, 2, timeout=1)  # torch elastic's handlers take whole seconds
        check_raises("RendezvousTimeoutError", node, node.joins(), self.seconds, "1 of 2 came within 1 s")

    def test_shutdown_succeeds_after_a_round(self, nodes: Callable[..., list[Member]]) -> None:
        pair = nodes(2, 2, 2)
        self.meet(pair, "2 nodes")
        done = [node.shutdown() for node in pair]
        assert done[0], "shutdown has to return True when the job could be closed"

    def test_shutdown_works_before_any_round(self, nodes: Callable[..., list[Member]]) -> None:
        nodes(1, 1, 1)[0].shutdown()


def somebody_waits(node: Member) -> bool:
    """Whether the node knows that somebody wants to be let in."""
    return bool(node.asks("num_nodes_waiting") > 0)


def check_ranks(infos: Sequence[Any]) -> None:
    """All are in one world, each with a rank of its own."""
    sizes = [info.world_size for info in infos]
    ranks = sorted(info.rank for info in infos)
    assert sizes == [len(infos)] * len(infos), f"world_size has to be {len(infos)} on every node, and is {sizes}"
    assert ranks == list(range(len(infos))), f"ranks have to be 0 to {len(infos) - 1}, each once, and are {ranks}"


def check_where(infos: Sequence[Any]) -> None:
    """All are told one address that can be one."""
    places = {(info.bootstrap_store_info.master_addr, info.bootstrap_store_info.master_port) for info in infos}
    assert len(places) == 1, f"bootstrap_store_info has to be the same on all nodes of a round, and is {places}"
    ((host, port),) = places
    assert isinstance(host, str), f"master_addr has to be a text that names a host, and is {host!r}"
    assert host, "master_addr has to be a text that names a host, and is empty"
    assert isinstance(port, int), f"master_port has to be a number, and is {port!r}"
    assert 0 <= port < 65536, f"master_port has to be a port, and is {port}"


def check_served(infos: Sequence[Any], seconds: float) -> None:
    """Somebody listens at the address that every node is told."""
    for info in infos:
        where = info.bootstrap_store_info
        place = (where.master_addr, where.master_port)
        try:
            socket.create_connection(place, seconds).close()
        except OSError as error:
            expected = f"use_agent_store is True, so a store has to be served at {place}"
            pytest.fail(f"{expected}, as rank {info.rank} was told; {error}")


def check_store(nodes: Sequence[Member], infos: Sequence[Any], seconds: float) -> None:
    """What each sets, all get; what all add to, counts each once, from 0."""
    for node, info in zip(nodes, infos, strict=True):
        assert info.store is not None, f"{node.name}: RendezvousInfo.store has to be a store for several nodes"
    calls = [node.does(exchange, info) for node, info in zip(nodes, infos, strict=True)]
    expected = "RendezvousInfo.store has to give every node of the round what any of them has set"
    sums = []
    for node, call in zip(nodes, calls, strict=True):
        found, number = outcome(call, seconds, node.name, expected)
        assert found == [b"from %d" % rank for rank in range(len(infos))], f"{node.name}: {expected}; it gave {found}"
        sums.append(number)
    counted = sorted(sums)
    assert counted == list(range(1, len(infos) + 1)), (
        f"the round's store has to begin empty, and `add` has to count every node once; the sums were {counted}"
    )


def exchange(info: Any) -> tuple[list[bytes], int]:
    """What all nodes of the round have set in its store, by rank; and this node's sum."""
    number = info.store.add("kit/count", 1)
    info.store.set(f"kit/{info.rank}", b"from %d" % info.rank)
    return [bytes(info.store.get(f"kit/{rank}")) for rank in range(info.world_size)], number


def check_raises(name: str, node: Member, call: Future[Any], seconds: float, why: str) -> None:
    """The call raises an exception of that name, by which the launcher knows it."""
    expected = f"next_rendezvous has to raise {name} (known by the name of its class), because {why}"
    try:
        answer = call.result(seconds)
    except Exception as error:
        if not call.done():
            pytest.fail(f"{node.name}: {expected}; it has not returned within {seconds:g} s")
        names = [kind.__name__ for kind in type(error).__mro__]
        assert name in names, f"{node.name}: {expected}; it raised {type(error).__name__}: {error}"
    else:
        pytest.fail(f"{node.name}: {expected}; it returned rank {answer.rank} of {answer.world_size}")
