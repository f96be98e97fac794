"""What no agent says: it costs who says it the connection, as a ValueError, and nobody else anything."""

from __future__ import annotations

import pytest
from agents import Agent, pair, shown

from launcher_core.model.job import Node
from launcher_core.rules.protocol import MAX_ASKED, MAX_NAME, frame


@pytest.mark.parametrize("opening", [b"LAUNCH\x02\n", b"Lx", b"LAUNCH\x01\r"])
def test_another_version_is_nonsense(host, opening):
    coordinator = host()
    assert coordinator.claims(opening)

    with pytest.raises(ValueError, match="not an agent of this version"):
        coordinator.open(Agent(coordinator)).receive(opening)


NODE = Node("a", "host-a", 1)._asdict()


@pytest.mark.parametrize(
    "type, fields",
    [
        ("nothing", {}),
        ("hello", {"run_id": "job", "nonce": ""}),
        ("ok", {}),
        ("ok", {"n": "1"}),
        ("ok", {"n": True}),
        ("ok", {"n": 1 << 63}),
        ("failed", {"round": 0, "reason": "before it joined"}),
        ("finished", {"round": 0}),
        ("resume", {"node": NODE}),
        ("resume", {"node": NODE, "round": 1.5}),
        *(("join", {"node": node}) for node in (None, 1, "x", [], {}, [NODE])),
        *(("join", {"node": NODE, "past": past}) for past in (1, [1], [-1, 0, 0, 1], [0, "1", 0, 1], [True, 0, 0, 1])),
        *(("join", {"node": {**NODE, "id": value}}) for value in (None, 1, [], {})),
        *(("join", {"node": {**NODE, "name": value}}) for value in (None, 1, [], {})),
        *(("join", {"node": {**NODE, "role": value}}) for value in (None, 1, [], {})),
        *(("join", {"node": {**NODE, "local_world_size": value}}) for value in (0, -1, 1 << 20, 1.0, True, "1")),
        *(("join", {"node": {**NODE, "node_rank": value}}) for value in (-1, 0.5, "1", [])),
        *(("join", {"node": {**NODE, "pid": value}}) for value in (None, [], {}, -1)),
        ("join", {"node": {**NODE, "more": 1}}),
        ("join", {"node": {**NODE, "name": "x" * (MAX_NAME + 1)}}),
        ("join", {"node": {**NODE, "name": "\ud800"}}),
        *(("leave", {"reason": value}) for value in (None, 1, [])),
        ("close", {"reason": {}}),
    ],
    ids=lambda value: str(value)[:80],
)
def test_a_malformed_message_is_a_value_error_and_changes_nothing(host, type, fields):
    coordinator = host()
    agent = Agent(coordinator)

    with pytest.raises(ValueError):
        agent.says(type, **fields)
    assert (agent.hears(), coordinator.members) == ([], 0)


def test_an_agent_cannot_turn_into_another(host):
    agent = Agent(host(low=2, high=2))
    agent.joins()

    with pytest.raises(ValueError, match="host-a turned into host-a"):
        agent.joins(id="b")


def test_half_a_join_does_not_take_another_nodes_connection(host):
    coordinator = host(low=2, high=2)
    first, second = pair(coordinator)
    stranger = Agent(coordinator, "a")
    with pytest.raises(ValueError):
        stranger.joins(past=[1])
    stranger.breaks()

    second.says("failed", round=0, reason="boom")
    assert [one["type"] for one in (*first.hears(), *second.hears())] == ["end", "end"]


@pytest.mark.parametrize("deep", [400, 980, 1000, 3000, 15_000])
@pytest.mark.parametrize("where", ["run_id", "nonce", "proof", "type", "more"])
def test_however_deep_a_message_is_it_is_a_value_error_at_most(host, where, deep):
    agent = Agent(host(token=b"secret"), welcome=False)
    fields = {"type": '"hello"', "run_id": '"job"', "nonce": '""', "proof": '""', where: "[" * deep + "]" * deep}
    body = ("{" + ",".join(f'"{key}":{value}' for key, value in fields.items()) + "}").encode()
    try:
        agent.session.receive(len(body).to_bytes(4, "big") + body)
    except ValueError:
        return
    assert (where, [one["type"] for one in agent.hears()]) == ("more", ["refused"])


def test_a_frame_that_is_too_long_is_refused_when_it_is_announced(host):
    agent = Agent(host())

    with pytest.raises(ValueError, match="a frame of 65537 bytes was announced; at most 65536"):
        agent.session.receive((MAX_ASKED + 1).to_bytes(4, "big"))


def test_who_was_sent_away_is_not_listened_to_any_more(host):
    coordinator = host(token=b"secret")
    agent = Agent(coordinator, welcome=False)
    wrong, right = frame("hello", **shown("x")), frame("hello", **shown(agent.challenge["nonce"]))
    agent.session.receive(wrong + right + frame("join", node=NODE, past=None))

    assert ([one["type"] for one in agent.hears()], coordinator.members) == (["refused"], 0)


def test_who_never_says_who_it_is_is_dropped_however_busy_it_is(host, port):
    agent = Agent(host(), welcome=False)
    for at in range(101, 114):
        port.until(at)
        agent.session.receive(b"\0" if at == 101 else b"")

    assert agent.closed
