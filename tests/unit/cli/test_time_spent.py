"""The line at the end of a job that ran more than once."""

from __future__ import annotations

import pytest

from launcher_core.cli.say import duration, time_spent


def test_the_line_names_every_phase_with_its_share_and_its_time() -> None:
    phases = {"training": 3_720_000_000, "forming": 40_000_000, "restarting": 200_000_000, "waiting": 80_000_000}
    expected = "time: 92 % training (1 h 2 min), 1 % forming (40.0 s), 5 % restarting (3 min), 2 % waiting (1 min)"
    assert time_spent(phases) == expected


@pytest.mark.parametrize("times", [(1, 1, 1, 0), (1, 1, 1, 4), (0, 0, 0, 7), (999, 1, 1, 1)])
def test_the_shares_sum_to_a_hundred(times: tuple[int, ...]) -> None:
    line = time_spent(dict(zip("abcd", times, strict=True)))
    shares = [int(part.split()[0]) for part in line.removeprefix("time: ").split(", ")]
    assert sum(shares) == 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (61, "1 min"), (3600, "1 h 0 min"), (3599.9, "1 h 0 min"), (90000, "1 d 1 h")],
)
def test_a_time_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
