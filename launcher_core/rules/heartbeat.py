"""Which workers have stopped to give signs of life, by what they promised themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Beat(NamedTuple):
    """What a worker's page says. Times are monotonic seconds, 0 for never."""

    at: float = 0.0
    section: str = ""
    since: float = 0.0
    """When it came into the section that must end first; 0 for none."""
    timeout: float | None = None
    """How many seconds that may take; None for ever."""


def is_excused(beat: Beat, now: float) -> bool:
    """Whether the worker is in a section whose time is not over."""
    return beat.since > 0 and (beat.timeout is None or now - beat.since <= beat.timeout)


def overdue(beats: Mapping[int, Beat], now: float, timeout: float, excused_at: float = 0.0) -> dict[int, str]:
    """Rank -> what is wrong with it, to follow "rank 2"; those whose section is over its time where there are any.

    `excused_at` is when they last had an excuse: they are given all the time from then on.
    """
    sections = {
        rank: f"has been in section {beat.section!r} for {now - beat.since:.0f} s, {beat.timeout:g} s at most"
        for rank, beat in sorted(beats.items())
        if beat.since and beat.timeout is not None and now - beat.since > beat.timeout
    }
    if sections or any(is_excused(beat, now) for beat in beats.values()):
        return sections  # while one has asked for time, the others may wait for it
    return {
        rank: f"has given no heartbeat for {now - beat.at:.0f} s"
        for rank, beat in sorted(beats.items())
        if beat.at and not beat.since and now - max(beat.at, excused_at) > timeout
    }
