"""Whether workers hang, as histories of looks: samples in, verdicts out."""

from __future__ import annotations

import pytest

from launcher_core.rules.hang import Mode, Sample, Track, advance, again, has_run, is_idle, somebody_waits, stuck

FIRST = Sample(0.0, 100, "S", "socket", cpu=5.0, wanted=5.0, runs=70, io=1000, own_io=500, said=(None, 0, 0),
               processes=frozenset({100}))  # fmt: skip
ONE_SECOND = FIRST._replace(at=1.0)


def after(*samples: Sample) -> Track:
    """The track of a worker of which these looks were taken."""
    track = None
    for sample in samples:
        track = advance(track, sample)
    assert track is not None
    return track


@pytest.mark.parametrize(
    "change, mode",
    [
        ({}, Mode.STILL),
        ({"runs": 71}, Mode.MOVING),
        ({"runs": 71, "cpu": 5.02, "wanted": 5.02}, Mode.MOVING),
        ({"runs": 71, "cpu": 5.1}, Mode.WORKING),
        ({"cpu": 6.0, "wanted": 6.0}, Mode.SPINNING),
        ({"cpu": 5.2, "wanted": 5.95}, Mode.SPINNING),
        ({"cpu": 6.0, "wanted": 6.0, "io": 2000}, Mode.WORKING),
        ({"cpu": 6.0, "wanted": 6.0, "said": (None, 0, 80)}, Mode.WORKING),
        ({"io": 1090}, Mode.STILL),
        ({"io": 1101}, Mode.WORKING),
        ({"own_io": 501, "io": 1001}, Mode.WORKING),
        ({"said": (1.0, 0, 0)}, Mode.WORKING),
        ({"processes": frozenset({100, 101})}, Mode.WORKING),
        ({"pid": 101}, Mode.WORKING),
        ({"state": "T"}, Mode.STOPPED),
        ({"state": "t"}, Mode.HELD),
        ({"held": True}, Mode.HELD),
        ({"state": "D"}, Mode.STILL),
        ({"state": ""}, Mode.ENDED),
    ],
)
def test_what_a_worker_did_between_two_looks(change: dict[str, object], mode: Mode) -> None:
    assert after(FIRST, ONE_SECOND._replace(**change)).mode is mode


def test_uninterruptible_sleep_is_one_only_if_two_looks_in_a_row_see_it() -> None:
    one, two = FIRST._replace(state="D"), ONE_SECOND._replace(state="D")
    assert after(one, two).mode is Mode.BLOCKED
    assert after(one, two._replace(runs=71)).mode is Mode.MOVING


def looks(seconds: int, **rates: float) -> list[Sample]:
    """A look every second at a worker that goes on at these rates."""
    return [
        FIRST._replace(at=float(at), **{name: getattr(FIRST, name) + rate * at for name, rate in rates.items()})
        for at in range(seconds + 1)
    ]


def test_a_group_of_which_all_wait_is_idle_after_the_timeout() -> None:
    tracks = {rank: after(*looks(60)) for rank in range(4)}
    assert is_idle(tracks, 60.0, 60.0)
    assert not is_idle(tracks, 59.0, 60.0)


def test_one_that_works_keeps_the_group_from_being_idle() -> None:
    assert not is_idle({0: after(*looks(60)), 1: after(*looks(60, cpu=0.05, runs=9))}, 60.0, 30.0)


def test_one_that_spins_or_moves_does_not_keep_the_others_from_being_idle() -> None:
    still, spins, moves = after(*looks(60)), after(*looks(60, cpu=1.0, wanted=1.0)), after(*looks(60, runs=3))
    assert is_idle({0: still, 1: spins, 2: moves}, 60.0, 60.0)
    assert (has_run(still, 60.0, 60.0), has_run(spins, 60.0, 60.0), has_run(moves, 60.0, 60.0)) == (False, True, True)


@pytest.mark.parametrize("rates", [{"cpu": 1.0, "wanted": 1.0}, {"runs": 3}])
def test_in_a_group_whose_main_threads_all_run_nobody_is_seen_to_wait(rates: dict[str, float]) -> None:
    tracks = {rank: after(*looks(600, **rates)) for rank in range(4)}
    assert not somebody_waits(tracks, 600.0, 60.0)
    assert somebody_waits({**tracks, 4: after(*looks(600))}, 600.0, 60.0)


def test_one_that_a_person_holds_keeps_the_others_from_being_judged() -> None:
    held = after(*looks(60), FIRST._replace(at=61.0, state="t"))
    assert not is_idle({0: after(*looks(61)), 1: held}, 61.0, 60.0)


def test_to_go_over_from_computing_to_waiting_is_progress() -> None:
    computes = looks(40, cpu=1.0, wanted=1.0)
    waits = [computes[-1]._replace(at=float(at)) for at in range(41, 61)]
    assert after(*computes, *waits).progress_at == 41.0


def test_who_has_ended_is_not_waited_for() -> None:
    ended = after(FIRST, ONE_SECOND._replace(state=""))
    assert is_idle({0: after(*looks(60)), 1: ended}, 60.0, 60.0)
    assert not is_idle({1: ended}, 60.0, 60.0)


@pytest.mark.parametrize("state", ["T", "D"])
def test_a_stopped_worker_is_stuck_whatever_the_others_do(state: str) -> None:
    stopped = [sample._replace(state=state) for sample in looks(60)]
    tracks = {0: after(*looks(60, cpu=0.5)), 1: after(*stopped)}
    assert stuck(tracks, 60.0, 59.0) == (1,)
    assert stuck(tracks, 60.0, 61.0) == ()


def test_what_our_own_questions_do_to_a_worker_is_no_progress() -> None:
    waits = looks(60)
    asked = waits[-1]._replace(at=60.5, runs=75, own_io=900, io=1400)
    track = again(after(*waits), asked)
    assert (track.progress_at, track.moved_at) == (0.0, 0.0)
    assert advance(track, asked._replace(at=61.0)).mode is Mode.STILL


def test_a_stopped_worker_that_goes_on_has_progressed() -> None:
    track = after(FIRST._replace(state="T"), ONE_SECOND._replace(state="T"), FIRST._replace(at=2.0))
    assert (track.mode, track.progress_at) == (Mode.STILL, 2.0)
