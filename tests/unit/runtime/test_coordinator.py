"""The coordinator without a socket: agents as transcripts, a port that keeps alarms, a clock that is set by hand."""

from __future__ import annotations

import pytest
from agents import Agent, Shop, pair, shown

from launcher_core.hooks.ports import ATTACHED
from launcher_core.rules import proof
from launcher_core.rules.protocol import frame

# --- the greeting ----------------------------------------------------------------------------------------


def test_an_agent_is_challenged_welcomed_and_given_its_place(host):
    agent = Agent(host(silence=3.0, interval=1.0, master_addr="10.0.0.9"), welcome=False)
    assert agent.challenge == {"type": "challenge", "nonce": agent.challenge["nonce"], "token": False}

    agent.says("hello", run_id="job", nonce="")
    agent.joins()
    welcome, seat = agent.hears()
    assert welcome == {"type": "welcome", "silence": 3.0, "interval": 1.0, "nonce": "", "proof": ""}
    assert seat == {
        "type": "seat",
        "round": 0,
        "group_rank": 0,
        "group_world_size": 1,
        "base_rank": 0,
        "world_size": 1,
        "base_role_rank": 0,
        "role_world_size": 1,
        "restarts": 0,
        "master_addr": "10.0.0.9",
        "master_port": 29400,
    }


def test_no_two_agents_are_asked_the_same(host):
    coordinator = host()

    assert Agent(coordinator).challenge["nonce"] != Agent(coordinator).challenge["nonce"]


def test_a_conversation_that_comes_byte_by_byte_is_the_same(host):
    coordinator = host()
    agent = Agent(coordinator, welcome=False)
    stream = frame("hello", run_id="job", nonce="") + frame("join", node=agent.node._asdict(), past=None)
    for byte in stream:
        agent.session.receive(bytes([byte]))

    assert [one["type"] for one in agent.hears()] == ["welcome", "seat"]


def test_an_agent_of_another_job_is_refused_by_name(host):
    agent = Agent(host(), welcome=False)
    agent.says("hello", run_id="other", nonce="")

    assert agent.hears() == [
        {"type": "refused", "reason": "another job runs here: its id is 'job', not 'other' (--rdzv-id)"}
    ]
    assert agent.closed


# --- the token -------------------------------------------------------------------------------------------


def test_who_proves_the_token_is_welcomed_and_shown_that_the_host_knows_it(host):
    agent = Agent(host(token=b"secret"), welcome=False)
    assert agent.challenge["token"] is True
    agent.says("hello", **shown(agent.challenge["nonce"]))

    (welcome,) = agent.hears()
    assert proof.holds(welcome["proof"], b"secret", "host", "job", "mine", welcome["nonce"])


@pytest.mark.parametrize(
    "hello, why",
    [
        (lambda nonce: {"run_id": "job", "nonce": "mine"}, "the job's token is missing"),
        (lambda nonce: shown(nonce, token=b"wrong"), "the job's token is another one"),
        (lambda nonce: shown(nonce, run_id="other"), "the job's token is another one"),
        (lambda nonce: shown(nonce, side="host"), "the job's token is another one"),
        (lambda nonce: shown("an earlier nonce"), "the job's token is another one"),
        (lambda nonce: {**shown(nonce), "nonce": "changed"}, "the job's token is another one"),
    ],
)
def test_who_cannot_prove_the_token_is_refused_and_the_job_does_not_notice(host, hello, why):
    coordinator = host(low=2, high=2, token=b"secret")
    stranger = Agent(coordinator, welcome=False)
    stranger.says("hello", **hello(stranger.challenge["nonce"]))

    (told,) = stranger.hears()
    assert (told["type"], told["reason"].startswith(why), stranger.closed) == ("refused", True, True)
    assert "secret" not in told["reason"] and coordinator.members == 0


def test_a_proof_that_was_overheard_is_of_no_use(host):
    coordinator = host(token=b"secret")
    agent, listener = (Agent(coordinator, welcome=False) for _ in range(2))
    overheard = shown(agent.challenge["nonce"])
    agent.says("hello", **overheard)
    listener.says("hello", **overheard)

    assert [one["type"] for one in (*agent.hears(), *listener.hears())] == ["welcome", "refused"]


@pytest.mark.parametrize("type", ["join", "ok", "leave", "close", "failed", "finished", "resume"])
def test_nothing_is_taken_before_the_hello(host, type):
    agent = Agent(host(), welcome=False)

    with pytest.raises(ValueError, match="came before hello"):
        agent.says(type, node=agent.node._asdict(), past=None, round=0, reason="", n=1)


# --- rounds ----------------------------------------------------------------------------------------------


def test_each_round_has_a_store_of_its_own(host, port):
    coordinator = host(low=1, high=2, store=Shop())
    first, second = (Agent(coordinator, name) for name in "ab")
    first.joins()
    port.until(port.now + 1)
    assert port.served == []  # last call

    second.joins()
    second.breaks()
    first.joins()
    assert port.served == [(None, 1), (1, 2)]


def test_a_failure_is_told_to_all_and_the_last_one_ends_the_job(host):
    coordinator = host(low=2, high=2, max_restarts=1)
    agents = [Agent(coordinator, name) for name in "ab"]
    for number in range(2):
        for agent in agents:
            agent.joins()
        assert [agent.seat() for agent in agents] == [(number, 0, number), (number, 1, number)]
        agents[1].says("failed", round=number, reason=f"boom {number}")
        if number == 0:
            told = {"round": 0, "reason": "boom 0", "restart": True, "restarts": 1, "max_restarts": 1}
            assert [agent.hears() for agent in agents] == [[{"type": "dismiss", **told}]] * 2

    assert [agent.hears() for agent in agents] == [[{"type": "end", "succeeded": False, "reason": "boom 1"}]] * 2


def test_the_last_call_ends_by_the_clock(host, port):
    agent = Agent(host(low=1, high=2, last_call=1.0))
    agent.joins()
    port.until(100.9)
    assert agent.hears() == []
    agent.says("ok", n=1)
    agent.hears()

    port.until(101.0)
    assert agent.seat() == (0, 0, 0)


def test_who_waits_is_told_every_ten_seconds_for_what(host, port):
    agent = Agent(host(low=2, high=2, silence=60.0))
    agent.joins()
    port.until(109.9)
    assert agent.hears() == []

    port.until(120)
    words = {"detail": "here: host-a; 1 more needed", "seconds_left": None, "then": ""}
    told = {"type": "waiting", **words, "have": 1, "low": 2, "high": 2}
    assert agent.hears() == [told, told]


def test_a_rank_that_is_taken_costs_only_its_second_claimant_the_job(host):
    coordinator = host(low=2, high=2, fixed_ranks=True)
    first, second = (Agent(coordinator, name) for name in "ab")
    first.joins(node_rank=1)
    second.joins(node_rank=1)

    (told,) = second.hears()
    assert (told["type"], second.closed, first.closed, coordinator.members) == ("refused", True, False, 1)


def test_success_of_all_is_told_to_all_and_then_the_host_is_free(host):
    coordinator, left = host(low=2, high=2), []
    coordinator.on_empty = lambda: left.append(True)
    agents = [Agent(coordinator, name) for name in "ab"]
    for agent in agents:
        agent.joins()
    for agent in agents:
        agent.hears()
        agent.says("finished", round=0)
    assert [agent.hears()[-1]["succeeded"] for agent in agents] == [True, True]

    agents[0].says("leave", reason="done")
    assert (coordinator.members, left) == (1, [])
    agents[1].breaks()
    assert (coordinator.members, left) == (0, [True])


# --- breaks ----------------------------------------------------------------------------------------------


def test_a_broken_connection_ends_the_round_at_once_and_the_workers_behind_it_have_the_fence_to_end(host, port):
    first, second = pair(host(low=1, high=2, fence=0.5))
    second.breaks()
    assert [one["reason"] for one in first.hears()] == ["host-b is gone: its connection broke"]

    first.joins()
    port.until(port.now + 0.4)
    assert first.hears() == []
    port.until(port.now + 0.2)
    assert first.seat() == (1, 0, 0)


def test_who_may_not_know_that_its_connection_was_torn_has_its_lease_and_the_fence_to_end(host, port):
    first, second = pair(host(low=1, high=2, fence=0.5))
    heard = port.now
    port.until(heard + 0.7)
    first.says("ok", n=1)
    second.breaks(torn=True)
    assert [one["type"] for one in first.hears()] == ["ok", "dismiss"]

    first.joins()
    port.until(heard + 1.9)
    assert first.hears() == []
    port.until(heard + 2.1)
    assert first.seat() == (1, 0, 0)


def test_the_next_round_does_not_wait_for_a_node_that_said_it_leaves(host):
    first, second = pair(host(low=1, high=2, fence=0.5))
    second.says("leave", reason="bye")
    first.joins()

    assert [told["type"] for told in first.hears()] == ["dismiss", "seat"]


def test_what_comes_late_on_a_connection_that_a_node_has_broken_with_changes_nothing(host):
    coordinator = host(low=1, high=2)
    first, old = pair(coordinator)
    new = Agent(coordinator, "b")
    new.joins()
    first.joins()
    assert old.closed
    assert new.seat() == (1, 1, 0)
    first.hears()

    old.session.receive(frame("join", node=old.node._asdict(), past=None))
    old.breaks()
    assert (first.hears(), new.hears(), new.closed) == ([], [], False)


def test_the_agent_in_the_hosts_own_process_is_not_expected_to_give_signs_of_life(host, port, monkeypatch):
    monkeypatch.setattr(Agent, "address", ATTACHED)
    agent = Agent(host())
    agent.joins()
    port.until(1000)
    assert not agent.closed


def test_a_silent_node_is_dropped_and_its_workers_have_the_fence_to_end(host, port):
    first, second = pair(host(low=1, high=2, fence=0.5))
    port.until(101.0)
    first.says("ok", n=1)
    first.hears()
    port.until(101.6)
    assert (first.closed, second.closed) == (False, True)
    second.breaks()
    assert [one["reason"] for one in first.hears()] == ["host-b is gone: nothing was heard of it for 1.5 seconds"]

    first.joins()
    port.until(102.0)
    assert first.hears() == []
    first.says("ok", n=2)
    first.hears()
    port.until(102.1)
    assert first.seat() == (1, 0, 0)


def test_a_node_that_speaks_between_the_two_looks_is_not_silent(host, port):
    agent = Agent(host())
    for at in (101.2, 102.4, 103.6):
        port.until(at)
        agent.says("ok", n=1)

    assert not agent.closed


def test_a_second_connection_of_a_node_replaces_the_first(host):
    coordinator = host(low=1, high=2)
    first, second = pair(coordinator)
    again = Agent(coordinator, "a")
    again.joins()
    assert [one["reason"] for one in second.hears()] == ["host-a started over"]
    first.breaks()
    second.joins()

    assert (again.seat(), second.seat(), coordinator.members) == ((1, 0, 0), (1, 1, 0), 2)


def test_who_finished_may_lose_its_connection_and_be_back(host):
    coordinator = host(low=2, high=2)
    first, second = pair(coordinator)
    first.says("finished", round=0)
    first.breaks()
    assert second.hears() == []

    again = Agent(coordinator, "a")
    again.says("resume", node=again.node._asdict(), round=0)
    assert again.hears() == []
    second.says("finished", round=0)
    assert [one["succeeded"] for one in (*again.hears(), *second.hears())] == [True, True]


def test_who_resumes_a_round_that_this_host_does_not_run_is_to_join_again(host):
    agent = Agent(host())
    agent.says("resume", node=agent.node._asdict(), round=4)

    assert [(one["type"], one["round"]) for one in agent.hears()] == [("dismiss", 4)]


def test_a_new_host_goes_on_from_what_the_agents_remember(host, port):
    coordinator = host(low=2, high=2, max_restarts=3, fence=0.5)
    agents = [Agent(coordinator, name) for name in "ab"]
    for agent in agents:
        agent.joins(past=[6, 2, "ba".index(agent.node.id), 2])
    assert [agent.hears() for agent in agents] == [[], []]

    port.until(100.5)
    assert [agent.seat() for agent in agents] == [(7, 1, 2), (7, 0, 2)]


def test_a_host_that_knows_better_does_not_go_back(host):
    first, second = pair(host(low=2, high=2, max_restarts=3))
    first.says("failed", round=0, reason="boom")
    for agent in (first, second):
        agent.hears()
        agent.joins(past=[0, 0, 1, 2])

    assert [first.seat(), second.seat()] == [(1, 0, 1), (1, 1, 1)]
