"""An agent at a port where connections are taken and nobody speaks: it tries again, and says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from queue import Queue

import pytest

from launcher_core.errors import RendezvousConnectionError, UsageError
from launcher_core.model.job import Node
from launcher_core.model.news import Trouble, Waiting
from launcher_core.rules import guest
from launcher_core.rules.guest import Where
from launcher_core.rules.protocol import MAGIC, frame
from launcher_core.runtime.conversation import Conversation

SOON = 20.0


class Door:
    """A port that says only what the test has it say, and the agent that comes to it."""

    def __init__(self, join_timeout: float, taken: Exception | None = None) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(SOON)
        self.news: Queue = Queue()
        where = Where("127.0.0.1", self.server.getsockname()[1], "job", join_timeout=join_timeout)
        self.agent = Conversation(where, self.news.put, self._reach, taken)
        self.agent.ask(lambda one, now: one.join(Node("n", "n", 1), now))

    def _reach(self, seconds: float) -> tuple[socket.socket, str]:
        return socket.create_connection(self.server.getsockname(), seconds), "127.0.0.1"

    def tells(self):
        """The next news of the agent's."""
        return self.news.get(timeout=SOON)


@pytest.fixture
def door(monkeypatch) -> Iterator:
    doors: list[Door] = []

    def opened(answer_within: float, *more) -> Door:
        monkeypatch.setattr(guest, "ANSWER_WITHIN", answer_within)
        doors.append(Door(*more))
        return doors[-1]

    yield opened
    for one in doors:
        one.agent.close(SOON)
        one.server.close()


def test_a_connection_on_which_nobody_speaks_is_dropped_for_another(door):
    here = door(0.1, SOON)
    silent, _ = here.server.accept()
    told = here.tells()
    assert isinstance(told, Waiting) and "takes connections, and did not answer in 0.1 s; trying again" in told.detail

    spoken_to, _ = here.server.accept()
    with silent, spoken_to:
        silent.settimeout(SOON)
        assert silent.makefile("rb").read() == MAGIC  # and then the end
        spoken_to.sendall(frame("refused", reason="it is late"))
        while isinstance(told, Waiting):
            told = here.tells()
    assert isinstance(told, Trouble) and isinstance(told.error, UsageError)
    assert "refused this agent: it is late" in str(told.error)


def test_who_never_speaks_is_no_agent_when_the_time_to_join_is_over(door):
    here = door(0.1, 0.35)
    told = here.tells()
    while isinstance(told, Waiting):
        told = here.tells()

    assert isinstance(told, Trouble) and isinstance(told.error, RendezvousConnectionError)
    assert "does not answer as an agent does (nothing in 0.35 s)" in str(told.error)


def test_whoever_holds_this_nodes_own_port_and_does_not_speak_is_no_agent_of_the_job(door):
    taken = UsageError("the port is held by another program")

    assert door(0.1, SOON, taken).tells() == Trouble(taken)
