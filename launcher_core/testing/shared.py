"""What every register has to stand, whatever it promises: whole jobs, with faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from launcher_core.model.capability import Capability
from launcher_core.rules.round import Limits
from launcher_core.testing.contract import Contract
from launcher_core.testing.jobs import LAST_CALL, LEASE, Job

SEEDS = (1, 2, 3)
PATIENCE = 20.0
"""Seconds that a job of a leased register takes at most: its clerks reckon in seconds, too."""
TROUBLE = 0.15
"""The share of calls that fail."""


class SharedJobs(Contract):
    """The part of RendezvousBackendContract that runs jobs of many nodes; `node` makes one more backend of the run."""

    @pytest.fixture
    def job(self, node: Callable[[], Any]) -> Callable[..., Job]:
        """Begins a job: of so many nodes at least, and at most, which come and fail as a seed has them."""
        leased = self.can(Capability.LEASE)

        def begin(low: int, high: int, seed: int = 0) -> Job:
            return Job(
                node, Limits(low, high, LAST_CALL, 3), leased=leased, seed=seed, seconds=max(self.seconds, PATIENCE)
            )

        return begin

    @pytest.mark.parametrize("seed", SEEDS)
    def test_nodes_that_arrive_at_once_form_one_round_and_finish_together(
        self, job: Callable[..., Job], seed: int
    ) -> None:
        one = job(4, 4, seed)
        nodes = one.join(4)
        one.until(lambda: one.together(nodes), "4 nodes that arrive at once have to form one round")
        one.finish()

    def test_a_node_that_joins_a_running_job_gets_in(self, job: Callable[..., Job]) -> None:
        one = job(2, 4)
        nodes = one.join(2)
        one.until(lambda: one.together(nodes), "2 of at most 4 nodes have to form a round")
        nodes += one.join(1)
        one.until(lambda: one.together(nodes), "a newcomer has to get into a running job, as one of 3")
        nodes += one.join(1)
        one.until(lambda: one.together(nodes), "another newcomer has to get into a running job, as one of 4")
        one.finish()

    def test_the_others_go_on_when_a_node_leaves(self, job: Callable[..., Job]) -> None:
        one = job(2, 3)
        nodes = one.join(3)
        one.until(lambda: one.together(nodes), "3 nodes have to form a round")
        nodes[0].depart()
        one.until(lambda: one.together(nodes[1:]), "2 nodes have to form another round when the third one leaves")
        one.finish()

    def test_the_others_go_on_when_a_node_dies(self, job: Callable[..., Job]) -> None:
        one = job(2, 3)
        nodes = one.join(3)
        one.until(lambda: one.together(nodes), "3 nodes have to form a round")
        nodes[0].die()
        one.until(lambda: one.together(nodes[1:]), "2 nodes have to form another round once the third one is lost")
        one.finish()

    def test_a_node_that_is_late_is_left_out_and_gets_in_again(self, job: Callable[..., Job]) -> None:
        if self.can(Capability.LEASE):
            pytest.skip("the backend keeps a node's entry alive, however late the node is")
        one = job(2, 3)
        nodes = one.join(3)
        one.until(lambda: one.together(nodes), "3 nodes have to form a round")
        nodes[0].late = True
        one.wait(2 * LEASE)
        one.until(lambda: one.together(nodes[1:]), "2 nodes have to form another round without the late one")
        nodes[0].late = False
        one.until(lambda: one.together(nodes), "the node that was late has to get in again")
        one.finish()

    @pytest.mark.parametrize("seed", SEEDS)
    def test_calls_that_fail_and_answers_that_are_lost_cost_time_and_nothing_else(
        self, job: Callable[..., Job], seed: int
    ) -> None:
        one = job(2, 5, seed)
        one.trouble = TROUBLE
        nodes = one.join(3)
        one.until(lambda: one.together(nodes), "3 nodes have to form a round, though calls fail and answers are lost")
        nodes += one.join(2)
        one.until(lambda: one.together(nodes), "2 newcomers have to get in, though calls fail and answers are lost")
        one.finish()
