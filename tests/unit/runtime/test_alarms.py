from __future__ import annotations

from launcher_core.runtime.alarms import LONGEST_SLEEP, Alarms


def rung(alarms: Alarms, now: float, log: list[str]) -> list[str]:
    """What goes off at this time."""
    log.clear()
    for function in alarms.due(now):
        function()
    return list(log)


def test_alarms_go_off_in_the_order_of_their_times_then_of_their_adding():
    log: list[str] = []
    alarms = Alarms()
    for when, name in ((3.0, "c"), (1.0, "a"), (3.0, "d"), (2.0, "b")):
        alarms.add(when, lambda name=name: log.append(name))

    assert [rung(alarms, now, log) for now in (0.5, 2.0, 2.5, 9.0, 9.0)] == [
        [],
        ["a", "b"],
        [],
        ["c", "d"],
        [],
    ]


def test_a_cancelled_alarm_does_not_go_off_and_may_be_cancelled_again():
    log: list[str] = []
    alarms = Alarms()
    first = alarms.add(1.0, lambda: log.append("first"))
    alarms.add(1.0, lambda: log.append("second"))
    alarms.cancel(first)
    alarms.cancel(first)

    assert rung(alarms, 1.0, log) == ["second"]


def test_an_alarm_may_cancel_one_that_is_due_with_it():
    log: list[str] = []
    alarms = Alarms()
    alarms.add(1.0, lambda: alarms.cancel(second))
    second = alarms.add(1.0, lambda: log.append("second"))

    assert rung(alarms, 1.0, log) == []


def test_an_alarm_added_for_now_by_another_goes_off_in_the_same_turn():
    log: list[str] = []
    alarms = Alarms()
    alarms.add(1.0, lambda: alarms.add(1.0, lambda: log.append("child")))

    assert rung(alarms, 1.0, log) == ["child"]


def test_the_time_left_is_that_of_the_next_alarm():
    alarms = Alarms()
    assert alarms.seconds_left(0.0) is None

    alarms.add(5.0, int)

    assert [alarms.seconds_left(now) for now in (2.0, 7.0)] == [3.0, 0.0]


def test_cancelled_alarms_do_not_pile_up():
    alarms = Alarms()
    kept = alarms.add(5.0, int)
    for _ in range(10_000):
        alarms.cancel(alarms.add(1_000.0, int))

    assert len(alarms.heap) < 200
    assert [function for function in alarms.due(5.0)] == [int]
    assert kept.function is None


def test_nobody_sleeps_longer_at_once_than_the_kernel_takes():
    alarms = Alarms()
    alarms.add(3e6, lambda: None)

    assert [alarms.seconds_left(now) for now in (0.0, 3e6 - 5.0, 4e6)] == [LONGEST_SLEEP, 5.0, 0.0]
