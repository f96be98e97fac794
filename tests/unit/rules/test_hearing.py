"""Whose silence counts, and for how long."""

from __future__ import annotations

from launcher_core.rules.hearing import Hearing


def test_who_gives_signs_lives_and_who_is_silent_for_longer_than_the_lease_does_not():
    hearing = Hearing(lease=6.0, pause=1.5)
    looks = [hearing.living({"a": number, "b": 0}, float(number)) for number in range(8)]

    assert looks == [{"a", "b"}] * 7 + [{"a"}]


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
    assert hearing.alive_after().keys() == {"a"}


def test_a_sign_was_given_after_the_look_that_did_not_find_it():
    hearing = Hearing(lease=6.0, pause=1.5)
    known = []
    for now, count in (0.0, 1), (1.0, 1), (2.0, 2), (3.0, 2):
        hearing.living({"a": count}, now)
        known.append(hearing.alive_after()["a"])

    assert known == [-float("inf"), -float("inf"), 1.0, 1.0]


def test_the_time_that_it_stood_still_is_in_none_of_its_times():
    hearing = Hearing(lease=6.0, pause=1.5)
    hearing.living({"a": 1}, 0.0)
    hearing.living({"a": 2}, 21.5)
    hearing.living({"a": 3}, 22.5)

    assert (hearing.deaf, hearing.alive_after()) == (20.0, {"a": 1.5})
