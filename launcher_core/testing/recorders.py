"""The contract of what is told every event of a launch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from launcher_core.model.record import Event, EventSource, MetadataValue
from launcher_core.testing.contract import Contract, Thread, outcome

MANY = 1000
WHEN = 1_700_000_000_000
METADATA: Mapping[str, MetadataValue] = MappingProxyType(
    {
        "run_id": "job",
        "state": "FAILED",
        "global_rank": None,
        "rank": 3,
        "seconds": 1.5,
        "spare": True,
        "raw_error": 'Traceback:\n  File "träin.py"\n\tKeyError: \U0001f600 \x1b[31m"\\',
    }
)
EVENTS = (
    Event("launcher.agent", EventSource.AGENT, WHEN, {"run_id": "job", "state": "RENDEZVOUS", "raw_error": None}),
    Event("launcher.worker", EventSource.WORKER, WHEN + 1, METADATA),
    Event("launcher.agent", EventSource.AGENT, WHEN + 2, {**METADATA, "raw_error": "x" * 100_000}),
    Event("launcher.agent", EventSource.AGENT, WHEN + 2, {"run_id": "", "state": "SUCCEEDED", "raw_error": None}),
)
"""Of every kind that a launch has: both sources, every type of value, texts of several lines, and a long one."""


class EventRecorderContract(Contract):
    """A plugin whose `launcher_make_recorder` returns a Recorder.

    Fixture `recorder`: a new one. Where what it has recorded can be read back, give `recorded`, too: a function that
    returns the events, each an Event or the line of JSON that `serialize` gives, after the recorder has been closed.
    """

    @pytest.fixture
    def recorder(self) -> Any:
        """A new Recorder."""
        raise NotImplementedError("give a fixture recorder: what launcher_make_recorder returns")

    @pytest.fixture
    def recorded(self) -> Callable[[], Iterable[str | Event]] | None:
        """What the closed recorder has recorded; None when that cannot be read back."""
        return None

    def tell(self, recorder: Any, events: Iterable[Event]) -> None:
        """Have one thread record the events and close the recorder, as the launcher does."""
        thread = Thread("recording")
        for event in events:
            what = f"record has to take every event; {event.source.value} {str(event.metadata)[:200]}"
            outcome(thread.call(recorder.record, event), self.seconds, "the recorder", what)
        what = "close has to work, once, at the end"
        outcome(thread.call(recorder.close), self.seconds, "the recorder", what)
        thread.end(self.seconds)

    def test_it_takes_events_of_every_kind(self, recorder: Any) -> None:
        self.tell(recorder, EVENTS)

    def test_it_can_be_closed_without_an_event(self, recorder: Any) -> None:
        self.tell(recorder, ())

    def test_it_takes_many_events(self, recorder: Any) -> None:
        self.tell(recorder, (EVENTS[number % 2]._replace(timestamp=WHEN + number) for number in range(MANY)))

    def test_it_leaves_an_event_as_it_is(self, recorder: Any) -> None:
        before = dict(METADATA)
        event = EVENTS[1]._replace(metadata=before)
        self.tell(recorder, [event])
        assert before == dict(METADATA), "record must not change an event: other recorders get the same one"

    def test_it_writes_nothing_to_stdout(self, recorder: Any, capfd: pytest.CaptureFixture[str]) -> None:
        self.tell(recorder, EVENTS)
        assert capfd.readouterr().out == "", "a recorder must not write to stdout: that is the workers' output"

    def test_every_event_is_recorded_once_and_in_order(self, recorder: Any, recorded: Any) -> None:
        if recorded is None:
            pytest.skip("there is no fixture `recorded`: what it records cannot be read back")
        many = [EVENTS[0]._replace(timestamp=WHEN + number) for number in range(100)]
        told = [*EVENTS, *many]
        self.tell(recorder, told)
        found = [plain(Event.deserialize(one)) for one in recorded()]
        assert found == [plain(one) for one in told], "every event has to be recorded, once, in order, as it was told"


def plain(event: Event) -> tuple[str, str, int, dict[str, MetadataValue]]:
    """The event as values that compare."""
    return event.name, event.source.value, event.timestamp, dict(event.metadata)
