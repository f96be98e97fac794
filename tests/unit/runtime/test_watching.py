"""When watches begin and end, and what is remembered of what they say."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from launcher_core.model.job import Place, Worker
from launcher_core.model.logs import LogsDest
from launcher_core.model.news import Notice
from launcher_core.rules.steps import Hung, Stalled
from launcher_core.runtime.watching import Late, StartedGroup, Watching

PLACE = Place(3, 0, 1, 4, 2, 4, 2, "127.0.0.1", 1)
PIDS = {0: 70, 1: 71}


class Alarms:
    """A loop of which only the alarms are wanted."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], Any]]] = []

    def call(self, function: Callable[[], Any], seconds: float) -> None:
        self.calls.append((seconds, function))


class Watch:
    """Notes what becomes of it."""

    def __init__(self) -> None:
        self.noted: list[object] = []

    def attach(self, scene: Any) -> None:
        self.noted.append(("attach", dict(scene.ranks)))

    def start(self, pids: Any, alarm: Callable[[str], None]) -> None:
        self.noted.append(("start", dict(pids)))
        self.alarm = alarm

    def stop(self) -> None:
        self.noted.append("stop")


def group(posted: list[Any]) -> StartedGroup:
    output: Any = SimpleNamespace(heard=lambda local: None, said=lambda local: (0, b""))
    return StartedGroup(PLACE, [Worker(0, 4, 4), Worker(1, 5, 5)], LogsDest(), output, posted.append)


def watching(watches: list[Watch], late: Late | None = None) -> tuple[Watching, Alarms, list[str]]:
    loop: Any = Alarms()
    told: list[str] = []
    return Watching(loop, watches, late, told.append), loop, told


def let_go(close: Callable[[], None]) -> None:
    close()


def test_a_watch_is_told_of_the_group_before_it_starts_and_ends_with_it() -> None:
    watch = Watch()
    these, _, _ = watching([watch])
    these.start(group([]), PIDS)
    these.stop(let_go)
    these.stop(let_go)
    assert watch.noted == [("attach", {0: 4, 1: 5}), ("start", PIDS), "stop"]


def test_the_late_watch_is_made_when_its_time_comes_and_not_for_a_group_that_has_ended() -> None:
    watch = Watch()
    these, loop, _ = watching([], Late(lambda: [watch], 30.0))
    these.start(group([]), PIDS)
    these.stop(let_go)
    these.start(group([]), PIDS)
    (first_seconds, first), (_, second) = loop.calls
    first()
    assert (first_seconds, watch.noted) == (30.0, [])
    second()
    these.stop(let_go)
    assert watch.noted == [("attach", {0: 4, 1: 5}), ("start", PIDS), "stop"]


def test_a_late_watch_that_cannot_be_made_is_told_once() -> None:
    def fail() -> list[Watch]:
        raise ValueError("no such plugin")

    these, loop, told = watching([], Late(fail, 1.0))
    for _ in range(2):
        these.start(group([]), PIDS)
    for _, call in loop.calls:
        call()
    these.start(group([]), PIDS)
    assert (told, len(loop.calls)) == (["hangs are not looked for: no such plugin"], 2)


def test_what_a_watch_says_is_news_of_its_round() -> None:
    posted: list[Any] = []
    scene = group(posted)
    scene.alarm("no heartbeat")
    scene.report("rank 5 hangs", [1], ["a line"])
    scene.resumed("it goes on")
    scene.give_up("rank 5 hangs", [1], restart=False)
    scene.notice("a file is missing")
    assert posted == [
        Hung("no heartbeat", 3),
        Stalled("rank 5 hangs", 3, (1,), ("a line",)),
        Stalled("it goes on", 3, over=True),
        Hung("rank 5 hangs", 3, (1,), final=True),
        Notice("a file is missing"),
    ]


def test_what_was_said_last_is_remembered_until_it_is_taken_back_or_the_group_is_another() -> None:
    these, _, _ = watching([])
    these.start(group([]), PIDS)
    these.told(Stalled("rank 5 hangs", 3, (1,)))
    assert these.facts() == {"reason": "rank 5 hangs", "local_ranks": [1]}
    these.told(Stalled("it goes on", 3, over=True))
    assert these.facts() is None
    these.told(Stalled("rank 5 hangs", 3, (1,)))
    these.start(group([]), PIDS)
    assert these.facts() is None


def test_how_a_worker_ended_is_known_after_the_watches_have_ended() -> None:
    these, _, _ = watching([])
    scene = group([])
    these.start(scene, PIDS)
    scene.explain(1, "its timer ran out")
    these.stop(let_go)
    assert (these.explained(1), these.explained(0)) == ("its timer ran out", "")
