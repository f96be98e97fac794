"""The lines that a running launch writes."""

from __future__ import annotations

import io

import pytest

from launcher_core.cli.tell import Teller
from launcher_core.model.news import Cut, Waiting
from launcher_core.rules.steps import Forwarded


@pytest.mark.parametrize(
    ("news", "line"),
    [
        (Waiting(2, 3, 3, "1 more", 9.0, "it ends"), "waiting: 2 of 3 nodes are here; 1 more; it ends in 9 s"),
        (Waiting(0, 1, 3, "no answer", 9.0, "it ends"), "waiting for 1 to 3 nodes; no answer; it ends in 9 s"),
        (Forwarded(10, 2), "SIGUSR1; passed on to 2 workers (--forward-signals)"),
        (Forwarded(12, 1), "SIGUSR2; passed on to 1 worker (--forward-signals)"),
        (Forwarded(10, 0), "SIGUSR1 is not passed on: no worker runs at this time"),
        (Cut("cut off from there"), "cut off from there; trying to reach it again"),
    ],
)
def test_a_line_says_what_is_known_and_what_happens_next(news: object, line: str) -> None:
    stream = io.StringIO()
    Teller(stream)(news)

    assert stream.getvalue() == f"launcher: {line}\n"
