"""Recorders are guarded one by one: what one of them raises harms neither the job nor the others."""

from __future__ import annotations

from launcher_core.model.record import Event, EventSource
from launcher_core.runtime.recording import Recording


def event(name: str) -> Event:
    return Event(name, EventSource.AGENT)


class Remembering:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def record(self, event: Event) -> None:
        self.seen.append(event.name)

    def close(self) -> None:
        self.seen.append("closed")


class Raising(Remembering):
    """Raises at the events named; "close" among them means at close."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names

    def record(self, event: Event) -> None:
        super().record(event)
        if event.name in self.names:
            raise RuntimeError(f"no room for {event.name}")

    def close(self) -> None:
        super().close()
        if "close" in self.names:
            raise RuntimeError("no room to close")


def test_every_recorder_is_told_every_event_in_order() -> None:
    one, two, told = Remembering(), Remembering(), list[str]()
    recording = Recording([("one", one), ("two", two)], told.append)

    recording.record(event("a"))
    recording.record(event("b"))
    recording.close()

    assert (one.seen, two.seen, told) == (["a", "b", "closed"], ["a", "b", "closed"], [])


def test_details_are_for_recorders_that_want_them() -> None:
    plain, detailed = Remembering(), Remembering()
    detailed.detailed = True  # type: ignore[attr-defined]
    assert not Recording([("plain", plain)], print).wants_detail
    recording = Recording([("plain", plain), ("detailed", detailed)], print)

    recording.record(event("a"), detail=True)
    recording.record(event("b"))

    assert (recording.wants_detail, plain.seen, detailed.seen) == (True, ["b"], ["a", "b"])


def test_a_recorder_that_raises_three_times_is_dropped_with_one_notice() -> None:
    bad, good, told = Raising("a", "c", "d"), Remembering(), list[str]()
    recording = Recording([("bad", bad), ("good", good)], told.append)

    for name in "abcdef":
        recording.record(event(name))
    recording.close()

    assert bad.seen == ["a", "b", "c", "d", "closed"]
    assert good.seen == [*"abcdef", "closed"]
    assert told == [
        "event recorder 'bad' failed 3 times and gets no more events; the last time with RuntimeError: no room for d"
    ]


def test_a_recorder_that_raises_twice_stays() -> None:
    bad, told = Raising("a", "b"), list[str]()
    recording = Recording([("bad", bad)], told.append)

    for name in "abc":
        recording.record(event(name))
    recording.close()

    assert (bad.seen, told) == (["a", "b", "c", "closed"], [])


def test_a_recorder_that_cannot_be_closed_is_told_and_the_next_is_closed() -> None:
    bad, good, told = Raising("close"), Remembering(), list[str]()
    recording = Recording([("bad", bad), ("good", good)], told.append)

    recording.close()

    assert good.seen == ["closed"]
    assert told == [
        "event recorder 'bad' could not be closed, its last events may be lost: RuntimeError: no room to close"
    ]


def test_a_dropped_recorder_that_cannot_be_closed_either_is_told_of_once() -> None:
    bad, told = Raising("a", "b", "c", "close"), list[str]()
    recording = Recording([("bad", bad)], told.append)

    for name in "abcd":
        recording.record(event(name))
    recording.close()

    assert (bad.seen, len(told)) == (["a", "b", "c", "closed"], 1)


def test_events_after_close_go_nowhere_and_closing_twice_closes_once() -> None:
    one, told = Remembering(), list[str]()
    recording = Recording([("one", one)], told.append)

    recording.close()
    recording.record(event("late"))
    recording.close()

    assert (one.seen, told) == (["closed"], [])
