"""Event recorders, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import threading

import pytest

from launcher_core.testing import EventRecorderContract


class Recorder:
    """A sound one."""

    def __init__(self):
        self.events = []

    def record(self, event):
        self.events.append(event)

    def close(self):
        pass


class Kit(EventRecorderContract):
    kind = Recorder
    seconds = 0.5
    caught_by = ""

    @pytest.fixture
    def recorder(self):
        return self.kind()

    @pytest.fixture
    def recorded(self, recorder):
        return lambda: recorder.events


class TestSound(Kit):
    seconds = 10.0


class TestAgentsOnly(Kit):
    """Expects what only some events have."""

    caught_by = "test_it_takes_events_of_every_kind"

    class kind(Recorder):
        def record(self, event):
            {"AGENT": super().record}[event.source.value](event)


class TestTextsOnly(Kit):
    """Joins values that are not all texts."""

    caught_by = "test_it_takes_events_of_every_kind"

    class kind(Recorder):
        def record(self, event):
            ",".join(event.metadata.values())


class TestHangs(Kit):
    """Waits for a collector that does not answer."""

    caught_by = "test_it_takes_events_of_every_kind"

    class kind(Recorder):
        def record(self, event):
            threading.Event().wait(30)


class TestNeedsAnEvent(Kit):
    caught_by = "test_it_can_be_closed_without_an_event"

    class kind(Recorder):
        def close(self):
            self.events[0].serialize()


class TestFull(Kit):
    caught_by = "test_it_takes_many_events"

    class kind(Recorder):
        def record(self, event):
            super().record(event)
            if len(self.events) > 200:
                raise BufferError("full")


class TestRedacts(Kit):
    """Takes out of an event what it does not like."""

    caught_by = "test_it_leaves_an_event_as_it_is"

    class kind(Recorder):
        def record(self, event):
            if isinstance(event.metadata, dict):
                event.metadata.pop("raw_error")


class TestPrints(Kit):
    caught_by = "test_it_writes_nothing_to_stdout"

    class kind(Recorder):
        def record(self, event):
            print(event.name)


class TestSkips(Kit):
    """Takes events of one millisecond for one event."""

    caught_by = "test_every_event_is_recorded_once_and_in_order"

    class kind(Recorder):
        def record(self, event):
            if not self.events or self.events[-1].timestamp != event.timestamp:
                super().record(event)


class TestLosesTheLast(Kit):
    """Buffers, and does not write what is left."""

    caught_by = "test_every_event_is_recorded_once_and_in_order"

    class kind(Recorder):
        def close(self):
            del self.events[len(self.events) // 10 * 10 :]
