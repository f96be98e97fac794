"""Whose silence counts, and for how long."""

from __future__ import annotations

from launcher_core.rules.hearing import Hearing


def test_who_gives_signs_lives_and_who_is_silent_for_longer_than_the_lease_does_not():
    hearing = Hearing(lease=6.0, pause=1.5)
    looks = [hearing.living({"a": number, "b": 0}, float(number)) for number in range(8)]

    assert looks == [{"a", "b"}] * 7 + [{"a"}]
    assert hearing.since() == {"a": 7.0, "b": 0.0}


def test_who_stood_still_has_heard_nobody_and_takes_nobody_for_lost():
    hearing = Hearing(lease=6.0, pause=1.5)
    hearing.living({"a": 1, "b": 1}, 0.0)

    assert hearing.living({"a": 9, "b": 1}, 60.0) == {"a", "b"}
    assert hearing.living({"a": 9, "b": 1}, 61.0) == {"a", "b"}


def test_a_look_whose_time_was_taken_before_it_stood_still_takes_nobody_for_lost():
    hearing = Hearing(lease=6.0, pause=1.5)
    hearing.living({"a": 1}, 0.0)
    hearing.living({"a": 5}, 0.1)  # what it reads is newer than this

    assert hearing.living({"a": 5}, 8.5) == {"a"}


def test_who_looks_seldom_still_finds_who_is_lost():
    hearing = Hearing(lease=6.0, pause=1.5)

    looks = [hearing.living({"a": 1}, 10.0 * number) for number in range(6)]

    assert looks == [{"a"}] * 5 + [set()]


def test_who_is_not_there_any_more_is_forgotten():
    hearing = Hearing(lease=6.0, pause=1.5)
    hearing.living({"a": 1, "b": 1}, 0.0)

    assert hearing.living({"a": 1}, 1.0) == {"a"}
    assert hearing.since() == {"a": 0.0}
