"""The agent of the node that hosts a job ends before the others."""

from __future__ import annotations

import queue

import pytest

from launcher_core.model.job import Node
from launcher_core.model.news import Over
from launcher_core.rules.round import Limits
from launcher_core.runtime.coordinated import HOST_ENDED, CoordinatedMeeting, Spot

PATIENCE = 30.0


@pytest.fixture
def meetings(free_port):
    """The host's end, the other node's, and what the other node is told."""
    told = queue.SimpleQueue()
    spot = Spot("127.0.0.1", free_port, "yes", "test", "127.0.0.1", "job", Limits(3, 3), close_timeout=PATIENCE)
    both = CoordinatedMeeting(spot, None), CoordinatedMeeting(spot._replace(hosting="no"), None)
    both[0].start(lambda news: None)
    both[1].start(told.put)
    yield (*both, told)
    for meeting in both:
        meeting.close()


def test_the_others_are_told_that_the_host_gave_up_while_it_is_still_there(meetings):
    host, guest, told = meetings
    arrived = queue.SimpleQueue()
    host._coordinator.change, change = lambda one: (change(one), arrived.put(one)), host._coordinator.change
    guest.join(Node("b", "b", 1))
    arrived.get(timeout=PATIENCE)
    host.close()

    assert told.get(timeout=PATIENCE) == Over(False, HOST_ENDED)
