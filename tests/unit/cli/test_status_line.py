"""What the status line says."""

from __future__ import annotations

import pytest

from launcher_core.cli.status_line import words
from launcher_core.runtime.standing import Glance

ALONE = Glance("running", 0, 1, 1, 1, 4, 0, 0, None)
MANY = Glance("running", 3, 3, 2, 4, 24, 1, 3, 97.5)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        pytest.param(ALONE, " train.py: running, round 0 | 1 node | 4 workers | up 1 h 2 min ", id="one node"),
        pytest.param(
            MANY,
            " train.py: running, round 3 | 3 of 2 to 4 nodes | 24 workers | restart 1 of 3 | stderr 2.5 s ago"
            " | up 1 h 2 min ",
            id="many nodes",
        ),
        pytest.param(
            Glance("rendezvous", -1, None, 2, 2, None, 0, 0, None),
            " train.py: rendezvous | 2 nodes wanted | up 1 h 2 min ",
            id="before the nodes have met",
        ),
        pytest.param(ALONE._replace(state="done"), "", id="over"),
    ],
)
def test_it_says_what_a_person_would_ask(seen: Glance, text: str) -> None:
    assert words(seen, "train.py", 3720.0, 100.0) == text
