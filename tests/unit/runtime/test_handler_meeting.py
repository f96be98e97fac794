"""A handler of torch elastic's shape is taken as it is, but for one that lacks what it will be called by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from launcher_core.errors import UsageError
from launcher_core.runtime.handler_meeting import HandlerMeeting

WHOLE: dict[str, Any] = {
    "get_backend": lambda: "theirs",
    "next_rendezvous": lambda: None,
    "num_nodes_waiting": lambda: 0,
    "set_closed": lambda: None,
    "shutdown": lambda: True,
}


def test_what_is_known_of_a_handler_is_its_name_and_how_it_is_watched() -> None:
    meeting = HandlerMeeting(SimpleNamespace(**WHOLE), max_restarts=0, poll_seconds=0.1)

    assert meeting.describe() == {"backend": "theirs", "membership": "polled every 0.1 s (--monitor-interval)"}


def test_a_handler_that_lacks_methods_is_refused_with_their_names() -> None:
    half = {name: method for name, method in WHOLE.items() if name not in ("num_nodes_waiting", "shutdown")}

    with pytest.raises(UsageError) as caught:
        HandlerMeeting(SimpleNamespace(**half), max_restarts=0, poll_seconds=0.1)

    assert str(caught.value) == (
        "--rdzv-backend: its plugin returned SimpleNamespace, which is no RendezvousHandler: it has no "
        "num_nodes_waiting and no shutdown"
    )


def test_a_meeting_that_never_began_has_nothing_to_shut_down() -> None:
    calls: list[str] = []
    handler = SimpleNamespace(**WHOLE | {"shutdown": lambda: calls.append("shutdown")})

    HandlerMeeting(handler, max_restarts=0, poll_seconds=0.1).close()

    assert calls == []
