"""Signs of life, most of what is ever sent: told apart unparsed, and yet messages like the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from launcher_core.hooks.ports import Service
from launcher_core.rules.protocol import MAGIC, SIGNS, Frames, frame
from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinator import AgentSession, Coordinator, Terms

HELLO = frame("hello", run_id="job", nonce="")


class Server:
    """A port where nothing happens by itself."""

    port = 1

    def call(self, function: Callable[[], object]) -> bool:
        return True

    def call_at(self, when: float, function: Callable[[], object]) -> object:
        return function

    def cancel(self, alarm: object) -> None:
        pass

    def replace(self, old: Service | None, new: Service) -> None:
        pass


class Wire:
    """An agent's end: what was sent to it."""

    address = "an agent"
    torn = False

    def __init__(self) -> None:
        self.sent = b""

    def send(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        pass

    def taken(self) -> list[dict[str, Any]]:
        """The messages since the last time."""
        data, self.sent = self.sent, b""
        return Frames().feed(data)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def session(wire: Wire) -> AgentSession:
    session = Coordinator(Server(), None, Terms("job", Limits(1, 1)), clock=lambda: 0.0).open(wire)
    session.receive(MAGIC)
    wire.taken()
    return session


@pytest.fixture
def greeted(session: AgentSession, wire: Wire) -> AgentSession:
    session.receive(HELLO)
    wire.taken()
    return session


def test_a_sign_is_a_message_like_any_other():
    assert [json.loads(sign[4:]) for sign in SIGNS] == [{"type": "ok", "n": number} for number in range(10)]


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_is_answered_with_itself(greeted: AgentSession, wire: Wire, sign: bytes) -> None:
    greeted.receive(sign)
    assert wire.sent == sign


def test_a_sign_in_pieces_is_answered_when_it_is_whole(greeted: AgentSession, wire: Wire) -> None:
    sign = frame("ok", n=3)
    for at in range(len(sign)):
        assert wire.sent == b""
        greeted.receive(sign[at : at + 1])
    assert wire.sent == sign


def test_of_signs_that_have_piled_up_the_last_is_answered(greeted: AgentSession, wire: Wire) -> None:
    greeted.receive(frame("ok", n=7) + frame("ok", n=8) + frame("ok", n=9)[:5])
    assert wire.taken() == [{"type": "ok", "n": 8}]
    greeted.receive(frame("ok", n=9)[5:])
    assert wire.taken() == [{"type": "ok", "n": 9}]


def test_bytes_of_a_sign_within_another_message_are_a_part_of_that(greeted: AgentSession, wire: Wire) -> None:
    sign = frame("ok", n=1)
    greeted.receive(len(sign).to_bytes(4, "big"))  # announces a message that is as long as a sign
    with pytest.raises(ValueError, match="not JSON"):
        greeted.receive(sign)


def test_a_sign_before_hello_costs_the_connection(session: AgentSession) -> None:
    with pytest.raises(ValueError, match="came before hello"):
        session.receive(frame("ok", n=1))
