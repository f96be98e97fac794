"""Rendezvous in memory, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from launcher_core.testing import RendezvousHandlerContract

PORT = 29500


class RendezvousClosedError(Exception):
    """Named as the launcher's own."""


class RendezvousTimeoutError(Exception):
    """Likewise."""


class Store:
    """What the nodes of a round share."""

    def __init__(self):
        self.change = threading.Condition()
        self.values = {}

    def set(self, key, value):
        with self.change:
            self.values[key] = value
            self.change.notify_all()

    def get(self, key):
        with self.change:
            if not self.change.wait_for(lambda: key in self.values, 0.3):
                raise TimeoutError(f"nobody has set {key}")
            return self.values[key]

    def add(self, key, number):
        with self.change:
            self.values[key] = self.values.get(key, 0) + number
            return self.values[key]


class Job:
    """What the nodes of one run share: who waits, and the round that they are in."""

    def __init__(self):
        self.change = threading.Condition()
        self.waiting = []
        self.members = []
        self.round = 0
        self.store = None
        self.closed = False


class Handler:
    """A sound one. A round forms when everybody of the round before is back, with whoever waits besides."""

    use_agent_store = False

    def __init__(self, job, run_id, low, high, timeout):
        self.job, self.run_id, self.low, self.high, self.timeout = job, run_id, low, high, timeout

    def get_backend(self):
        return "memory"

    def get_run_id(self):
        return self.run_id

    def is_closed(self):
        return self.job.closed

    def set_closed(self):
        with self.job.change:
            self.job.closed = True
            self.job.change.notify_all()

    def shutdown(self):
        self.set_closed()
        return True

    def num_nodes_waiting(self):
        return len([node for node in self.job.waiting if node not in self.job.members])

    def next_rendezvous(self):
        job = self.job
        with job.change:
            if job.closed:
                raise RendezvousClosedError("the job is over")
            job.waiting.append(self)
            self._form()
            if not job.change.wait_for(lambda: self not in job.waiting or job.closed, self.timeout):
                job.waiting.remove(self)
                raise RendezvousTimeoutError("too few nodes")
            if self in job.waiting:
                job.waiting.remove(self)
                raise RendezvousClosedError("the job is over")
            return self.answer()

    def _form(self):
        job = self.job
        if len(job.waiting) >= self.low and set(job.members) <= set(job.waiting):
            order = sorted(job.waiting, key=lambda node: node not in job.members)
            job.members, job.waiting = order[: self.high], order[self.high :]
            job.round += 1
            self.renew()
            job.change.notify_all()

    def renew(self):
        self.job.store = Store()

    def rank(self):
        return self.job.members.index(self)

    def where(self):
        return SimpleNamespace(master_addr="127.0.0.1", master_port=PORT + self.job.round)

    def answer(self):
        size = len(self.job.members)
        return SimpleNamespace(
            store=self.job.store, rank=self.rank(), world_size=size, bootstrap_store_info=self.where()
        )


class Kit(RendezvousHandlerContract):
    handler = Handler
    capabilities = ("ELASTIC",)
    seconds = 0.8
    caught_by = ""

    @pytest.fixture
    def make_handler(self):
        jobs = {}

        def make(run_id, low, high, timeout):
            return self.handler(jobs.setdefault(self.key(run_id), Job()), run_id, low, high, timeout)

        return make

    def key(self, run_id):
        return run_id


class TestSound(Kit):
    seconds = 10.0


class TestAllAreFirst(Kit):
    caught_by = "test_nodes_that_meet_have_dense_unique_ranks_in_one_world"

    class handler(Handler):
        def rank(self):
            return 0


class TestRanksFromOne(Kit):
    caught_by = "test_a_node_alone_has_rank_0_of_1"

    class handler(Handler):
        def rank(self):
            return super().rank() + 1


class TestAnAddressForEach(Kit):
    caught_by = "test_all_nodes_are_told_one_bootstrap_address"

    class handler(Handler):
        def where(self):
            return SimpleNamespace(master_addr="127.0.0.1", master_port=PORT + self.rank())


class TestServesNothing(Kit):
    """Says that there is an agent store, and there is none."""

    caught_by = "test_an_agent_store_is_served_at_the_bootstrap_address"

    class handler(Handler):
        use_agent_store = True

        def where(self):
            return SimpleNamespace(master_addr="127.0.0.1", master_port=1)


class TestAStoreForEach(Kit):
    caught_by = "test_nodes_of_a_round_share_its_store"

    class handler(Handler):
        def answer(self):
            found = super().answer()
            found.store = Store()
            return found


class TestOneStoreForEver(Kit):
    caught_by = "test_the_store_begins_empty_in_every_round"

    class handler(Handler):
        def renew(self):
            self.job.store = self.job.store or Store()


class TestOneJobForAll(Kit):
    caught_by = "test_jobs_of_other_run_ids_do_not_meet"

    def key(self, run_id):
        return ""


class TestCountsItself(Kit):
    """Takes those who are in for those who wait."""

    caught_by = "test_a_round_that_is_complete_has_nobody_waiting"

    class handler(Handler):
        def num_nodes_waiting(self):
            return len(self.job.members)


class TestSeesNobody(Kit):
    caught_by = "test_a_node_that_comes_later_is_seen_by_those_that_run"

    class handler(Handler):
        def num_nodes_waiting(self):
            return 0


class TestTheNewcomerWaitsForAKey(Kit):
    """The first round's rank 0 writes the address, under a key of that round; it keeps what it has afterwards.

    A newcomer reads its own round's key, which nobody writes.
    """

    caught_by = "test_a_node_that_joins_a_running_job_gets_in_and_all_share_one_world_and_one_store"

    class handler(Handler):
        cached = None

        def where(self):
            if self.cached is None and self.rank() == 0:
                self.cached = super().where()
                self.job.store.set("MASTER_PORT", self.cached.master_port)
            return self.cached

        def next_rendezvous(self):
            found = super().next_rendezvous()
            if self.cached is None:
                port = found.store.get("MASTER_PORT")
                self.cached = found.bootstrap_store_info = SimpleNamespace(master_addr="127.0.0.1", master_port=port)
            return found


class TestTheOldAddress(Kit):
    """A node keeps the address of its first round."""

    caught_by = TestTheNewcomerWaitsForAKey.caught_by

    class handler(Handler):
        cached = None

        def where(self):
            self.cached = self.cached or super().where()
            return self.cached


class TestNeverCloses(Kit):
    caught_by = "test_a_job_is_open_until_it_is_closed_and_then_closed_for_everybody"

    class handler(Handler):
        def is_closed(self):
            return False


class TestOpenToAll(Kit):
    """Lets nodes meet in a job that is over."""

    caught_by = "test_nobody_joins_a_job_that_is_closed"

    class handler(Handler):
        def next_rendezvous(self):
            self.job.closed = False
            return super().next_rendezvous()


class TestWaitsForEver(Kit):
    caught_by = "test_too_few_nodes_are_a_timeout"

    class handler(Handler):
        def __init__(self, job, run_id, low, high, timeout):
            super().__init__(job, run_id, low, high, 60.0)


class TestAnErrorOfItsOwn(Kit):
    caught_by = "test_too_few_nodes_are_a_timeout"

    class handler(Handler):
        def next_rendezvous(self):
            try:
                return super().next_rendezvous()
            except RendezvousTimeoutError as error:
                raise ValueError("too few") from error


class TestShutsDownBadly(Kit):
    caught_by = "test_shutdown_succeeds_after_a_round"

    class handler(Handler):
        def shutdown(self):
            super().shutdown()
            return False
