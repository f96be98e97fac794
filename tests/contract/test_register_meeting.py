"""The rendezvous over a shared register: several nodes as threads of this process, the register in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from time import monotonic
from typing import Any

import pytest
from launches import until

from launcher_core.errors import HostLostError
from launcher_core.model.job import Node
from launcher_core.model.news import Cut, Formed, News, Over, Regroup, Trouble, Waiting
from launcher_core.rules.clerk import Clerk
from launcher_core.rules.register import Register, Terms, decode, encode
from launcher_core.rules.round import Limits
from launcher_core.runtime import register_meeting
from launcher_core.runtime.register_meeting import RegisterMeeting
from launcher_plugins.c10d_store import C10dStore
from launcher_plugins.c10d_store.client import StoreClient

DEADLINE = 20.0


class Memory:
    """A register with a fencing token; counts what was asked of it."""

    name = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.state: bytes | None = None
        self.token = 0
        self.lost = 0
        self.away = False

    def forget(self) -> None:
        """Lose the state, as a place does that is not kept."""
        with self._lock:
            self.state = None

    def get_state(self) -> tuple[bytes, Any] | None:
        if self.away:
            raise OSError("out of reach")
        with self._lock:
            return None if self.state is None else (self.state, self.token)

    def set_state(self, state: bytes, token: Any | None = None) -> tuple[bytes, Any, bool] | None:
        with self._lock:
            if token != (None if self.state is None else self.token):
                self.lost += 1
                return self.state or b"", self.token, False
            self.state, self.token = state, self.token + 1
            return state, self.token, True


class Watched(Memory):
    """One that tells of changes, when the test has it do so."""

    changed: Callable[[], None]

    def watch(self, changed: Callable[[], None]) -> None:
        self.changed = changed

    def close(self) -> None:
        """Nothing is to be released."""


class Agent:
    """A node with its news."""

    def __init__(
        self,
        register: Memory,
        id: str,
        limits: Limits,
        silence: float = 30.0,
        address: str = "127.0.0.1",
        patience: float = DEADLINE,
    ) -> None:
        clerk = Clerk(Terms(limits, join_timeout=patience, lease=silence, where="the register of memory"))
        self.meeting = RegisterMeeting(register, C10dStore(), clerk, 0.01, address)
        self.node = Node(id, f"host-{id}", 2)
        self.news: SimpleQueue[News] = SimpleQueue()
        self.meeting.start(self.news.put)

    def join(self) -> Agent:
        self.meeting.join(self.node)
        return self

    def next(self, kind: type) -> Any:
        """The next news; fails unless it is of this kind."""
        news = self.news.get(timeout=DEADLINE)
        assert isinstance(news, kind), news
        return news


@pytest.fixture
def register() -> Memory:
    return Memory()


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    made: list[Agent] = []
    yield made
    for agent in made:
        agent.meeting.close()


def crowd(agents: list[Agent], register: Memory, limits: Limits, names: str, silence: float = 30.0) -> list[Agent]:
    new = [Agent(register, name, limits, silence).join() for name in names]
    agents.extend(new)
    return new


def test_nodes_form_a_round_with_dense_ranks_and_meet_at_one_store(register, agents):
    crowd(agents, register, Limits(3, 3), "abc")
    places = [agent.next(Formed).place for agent in agents]

    assert sorted((place.group_rank, place.base_rank, place.world_size) for place in places) == [
        (0, 0, 6),
        (1, 2, 6),
        (2, 4, 6),
    ]
    assert len({(place.master_addr, place.master_port) for place in places}) == 1
    with StoreClient(places[0].master_addr, places[0].master_port, timeout=DEADLINE) as store:
        assert store.add("n", 1) == 1


def test_a_failure_restarts_all_with_an_empty_store_and_the_next_one_ends_the_job(register, agents):
    a, b = crowd(agents, register, Limits(2, 2, max_restarts=1), "ab")
    place, _ = (agent.next(Formed).place for agent in (a, b))
    with StoreClient(place.master_addr, place.master_port, timeout=DEADLINE) as store:
        store.set("old", "key")
        assert store.num_keys() == 1
    b.meeting.failed(0, "rank 3 failed")
    told = [agent.next(Regroup) for agent in (a, b)]
    assert {(news.round, news.reason, news.restart, news.restarts) for news in told} == {(0, "rank 3 failed", True, 1)}

    for agent in (a, b):
        agent.join()
    places = [agent.next(Formed).place for agent in (a, b)]
    assert {(place.round, place.restarts) for place in places} == {(1, 1)}
    with StoreClient(places[0].master_addr, places[0].master_port, timeout=DEADLINE) as store:
        assert store.num_keys() == 0
    a.meeting.failed(1, "rank 0 failed")
    assert {agent.next(Over) for agent in (a, b)} == {Over(False, "rank 0 failed")}


def test_the_job_succeeds_when_all_have_finished(register, agents):
    a, b = crowd(agents, register, Limits(2, 2), "ab")
    for agent in (a, b):
        agent.next(Formed)
    a.meeting.finished(0)
    b.meeting.finished(0)

    assert [agent.next(Over).succeeded for agent in (a, b)] == [True, True]


def test_a_node_that_falls_silent_is_lost_and_a_newcomer_takes_its_place(register, agents):
    a, b = crowd(agents, register, Limits(1, 2), "ab", silence=0.5)
    assert sorted(agent.next(Formed).place.group_rank for agent in (a, b)) == [0, 1]
    b.meeting._orders.put(None)  # its thread ends, as if the machine had died: nobody says good-bye

    assert a.next(Regroup).restart is False
    assert a.join().next(Formed).place.world_size == 2
    (c,) = crowd(agents, register, Limits(1, 2), "c", silence=0.5)
    assert a.next(Regroup).reason == "host-c joined"
    a.join()
    places = a.next(Formed).place, c.next(Formed).place
    assert [(place.group_rank, place.world_size) for place in places] == [(0, 4), (1, 4)]


def test_the_last_call_is_timed_by_each_node_itself(register, agents):
    (a,) = crowd(agents, register, Limits(1, 2, last_call=0.05), "a")

    assert a.next(Formed).place.group_world_size == 1


def test_a_node_that_never_reaches_where_the_workers_meet_gives_up_and_says_what_to_do(register, agents, monkeypatch):
    monkeypatch.setattr(register_meeting, "UNREACHED", 0.3)
    agents.append(Agent(register, "a", Limits(2, 2), address="255.255.255.255").join())
    until(lambda: register.state is not None, "the first node is there, so that it gets rank 0")
    (b,) = crowd(agents, register, Limits(2, 2), "b")

    error = b.next(Trouble).error
    assert str(error).startswith("host-a gives 255.255.255.255, port ")
    assert str(error).endswith("set --local-addr there")


def test_a_node_kills_its_workers_and_gives_up_when_the_register_stays_out_of_reach(register, agents):
    agents.append(Agent(register, "a", Limits(1, 1), silence=0.4, patience=0.8).join())
    agents[0].next(Formed)
    register.away = True

    assert agents[0].next(Waiting).detail == "out of reach"
    cut = "this node was cut off from the register of memory: no sign of life got through for 0.3 s"
    assert agents[0].next(Cut).reason == cut
    error = agents[0].next(Trouble).error
    where = "the register of memory could not be reached for 0.8 s (--rdzv-conf join_timeout): out of reach"
    assert (type(error), str(error)) == (HostLostError, where)


def test_a_node_gives_up_a_register_some_time_after_it_was_first_asked_in_vain(agents, monkeypatch):
    register, ahead = Watched(), [0.0]
    monkeypatch.setattr(register_meeting, "monotonic", lambda: monotonic() + ahead[0])
    (a,) = crowd(agents, register, Limits(1, 1), "a", silence=1000.0)
    a.next(Formed)
    ahead[0] = 2 * DEADLINE  # as if nothing had been asked of it for so long
    register.away = True
    register.changed()

    a.next(Waiting)
    register.away = False
    a.meeting.finished(0)
    assert a.next(Over).succeeded


@pytest.mark.parametrize("state", [b"\x80\x04}.", b"{}", b'{"version": 99}', encode(Register())[:-1]])
def test_what_is_no_state_is_refused(register, agents, state):
    register.state = state
    (a,) = crowd(agents, register, Limits(1, 1), "a")

    error = a.next(Trouble).error
    assert str(error).startswith("memory: ")


def test_a_register_that_forgets_its_state_ends_the_launch_in_the_end(register, agents):
    (a,) = crowd(agents, register, Limits(1, 1), "a")
    for _ in range(3):
        a.next(Formed)
        register.forget()
        assert a.next(Regroup).reason == "the shared state has vanished"
        a.join()
    a.next(Formed)
    register.forget()

    assert "has vanished 4 times while workers ran" in str(a.next(Trouble).error)


def test_the_register_survives_a_round_trip(register, agents):
    a, b = crowd(agents, register, Limits(2, 2), "ab")
    for agent in (a, b):
        agent.next(Formed)
    state = register.get_state()
    assert state is not None

    assert encode(decode(state[0])) == state[0]
