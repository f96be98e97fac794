"""Whether the workers of a node hang, from what was seen of each at one look after another.

Nothing is asked of the workers. What counts as progress is output, input, a heartbeat, a new process, or some use of
the CPU; a CPU used to the full with nothing else to be seen is no progress and no proof of a hang either: honest
computing looks the same, and so does a peer that waits busily. So a group is suspected only when nobody in it
progressed for the whole timeout and somebody's main thread never ran in that time; what rests on a worker that does
run, or on stacks alone, takes twice as long. One that is stopped, or in uninterruptible sleep, is suspected by itself.
Who is to blame is decided in `rules.apart`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

QUIET = 0.03
"""Less of one CPU than this is next to nothing: what waiting in small steps costs."""
SPIN = 0.8
"""A thread that runs, or waits for a CPU, this much of the time does nothing else."""
BYTES_A_SECOND = 100
"""Less input and output than this, by other threads than the main one, is what libraries do in the background."""


class Mode(Enum):
    """What a worker did between two looks."""

    WORKING = "working"
    SPINNING = "spinning"
    """It used a CPU all the time, and nothing else is to be seen of it."""
    MOVING = "moving"
    """Its main thread ran every now and then, and came to nothing."""
    STILL = "still"
    """Its main thread never ran."""
    STOPPED = "stopped"
    BLOCKED = "blocked"
    """Its main thread is in uninterruptible sleep, and never ran."""
    HELD = "held"
    """A person holds it, by a debugger or a question at the terminal; or it has asked for time."""
    ENDED = "ended"


IDLE = (Mode.MOVING, Mode.STILL, Mode.BLOCKED)


class Sample(NamedTuple):
    """One look at a worker and what it started; the main thread is that of the process that does the work."""

    at: float
    """Monotonic seconds."""
    pid: int = 0
    """The process that does the work: the worker, or what it waits for."""
    state: str = "S"
    """Of the main thread, the letter of /proc; empty when there is no such process."""
    wait: str = ""
    """What the main thread waits in: a key of rules.apart.WORDS."""
    cpu: float = 0.0
    """CPU seconds of all processes."""
    wanted: float = 0.0
    """Seconds that the main thread ran, or waited for a CPU."""
    runs: int = 0
    """How often the main thread was given a CPU."""
    io: int = 0
    """Bytes read and written by all processes."""
    own_io: int = 0
    """Bytes read and written by the main thread."""
    said: tuple[Any, ...] = ()
    """Changes with every output and heartbeat."""
    processes: frozenset[int] = frozenset()
    held: bool = False
    """Whether it is known that a person holds it."""
    excused: bool = False
    """Whether it has said that it will take some time."""


class Track(NamedTuple):
    """What is known of a worker so far. Times are monotonic seconds."""

    sample: Sample
    mode: Mode
    since: float
    """When it came into this mode."""
    progress_at: float
    """When it made progress last, for all that can be seen."""
    moved_at: float
    """When its main thread was last known to have run."""


def advance(track: Track | None, sample: Sample) -> Track:
    """The track after one more look."""
    at = sample.at
    if track is None:
        return Track(sample, _standing(sample) or Mode.WORKING, at, at, at)
    mode = _mode(track.sample, sample)
    changed = mode is not track.mode
    progress = mode is Mode.WORKING or (changed and _went_on(track.mode, mode))
    stays = mode in (Mode.STILL, Mode.STOPPED, Mode.BLOCKED)
    return Track(
        sample,
        mode,
        at if changed else track.since,
        at if progress else track.progress_at,
        track.moved_at if stays else at,
    )


def again(track: Track, sample: Sample) -> Track:
    """The track after a look that shows what our own questions did to the worker: it is no sign of anything."""
    return track._replace(sample=sample._replace(at=track.sample.at))


def _went_on(before: Mode, now: Mode) -> bool:
    """Whether a change of mode is a sign of progress: from computing to waiting or back, or on after a stop."""
    if before in (Mode.STOPPED, Mode.HELD):
        return True
    return (before in IDLE and now is Mode.SPINNING) or (before is Mode.SPINNING and now in IDLE)


def _standing(sample: Sample) -> Mode | None:
    """The mode that one look is enough for."""
    if sample.state in ("", "Z", "X"):
        return Mode.ENDED
    if sample.state == "t" or sample.held:
        return Mode.HELD
    if sample.state == "T":
        return Mode.STOPPED
    return Mode.HELD if sample.excused else None


def _mode(before: Sample, now: Sample) -> Mode:
    standing = _standing(now)
    if standing is not None:
        return standing
    seconds = max(now.at - before.at, 1e-9)
    share = (now.cpu - before.cpu) / seconds
    if _shows(before, now, seconds):
        return Mode.WORKING
    if share >= SPIN or (now.wanted - before.wanted) / seconds >= SPIN:
        return Mode.SPINNING
    if share >= QUIET:
        return Mode.WORKING
    if now.runs != before.runs:
        return Mode.MOVING
    return Mode.BLOCKED if now.state == before.state == "D" else Mode.STILL


def _shows(before: Sample, now: Sample, seconds: float) -> bool:
    """Whether there is something to show for the time."""
    return (
        now.said != before.said
        or now.pid != before.pid
        or now.own_io > before.own_io
        or now.io - before.io > BYTES_A_SECOND * seconds
        or not now.processes <= before.processes
    )


# --- verdicts --------------------------------------------------------------------------------------------


def stuck(tracks: Mapping[int, Track], now: float, timeout: float) -> tuple[int, ...]:
    """Who has been stopped, or in uninterruptible sleep, for the timeout: whatever the others do, that is wrong."""
    return tuple(
        rank
        for rank, track in sorted(tracks.items())
        if track.mode in (Mode.STOPPED, Mode.BLOCKED) and now - track.since >= timeout
    )


def is_idle(tracks: Mapping[int, Track], now: float, timeout: float) -> bool:
    """Whether nobody has progressed for the timeout, for all that can be seen."""
    live = [track for track in tracks.values() if track.mode is not Mode.ENDED]
    if not live or any(track.mode is Mode.HELD for track in live):
        return False
    return idle_seconds(tracks, now) >= timeout


def somebody_waits(tracks: Mapping[int, Track], now: float, timeout: float) -> bool:
    """Whether the main thread of one has not run for the timeout: what it does is certainly no computing."""
    return any(track.mode is not Mode.ENDED and now - track.moved_at >= timeout for track in tracks.values())


def idle_seconds(tracks: Mapping[int, Track], now: float) -> float:
    """How long nobody has progressed."""
    return now - max((track.progress_at for track in tracks.values() if track.mode is not Mode.ENDED), default=now)


def has_run(track: Track, now: float, timeout: float) -> bool:
    """Whether its main thread has run within the timeout: then there may be more to it than is seen."""
    return track.mode is not Mode.ENDED and now - track.moved_at < timeout
