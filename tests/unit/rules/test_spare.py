"""A spare waits as long as the job runs, and no longer than others for a round that does not form."""

from __future__ import annotations

import pytest

from launcher_core.errors import RendezvousTimeoutError
from launcher_core.model.job import Node
from launcher_core.rules.guest import Guest, Where
from launcher_core.rules.protocol import frame

SHORT = frame("waiting", have=1, low=2, high=2, detail="1 more needed", seconds_left=None, then="")


@pytest.fixture
def spare():
    guest = Guest(Where("host", 1, "job", 2, 2, join_timeout=60, interval=1000, silence=3000))
    guest.connected(0)
    guest.receive(frame("challenge", nonce="", token=False), 0)
    guest.receive(frame("welcome", silence=3000, interval=1000, nonce="", proof=""), 0)
    guest.join(Node("a", "a", 1), 0)
    guest.receive(frame("park"), 1)
    return guest


def test_a_spare_waits_while_the_job_runs(spare):
    assert spare.tick(100) == []


def test_a_spare_gives_up_when_the_job_is_short_of_nodes_for_too_long(spare):
    spare.receive(SHORT, 100)
    spare.receive(SHORT, 110)
    assert spare.tick(159) == []

    with pytest.raises(RendezvousTimeoutError, match=r"no round formed within 60 s .*: 1 more needed"):
        spare.tick(160)
