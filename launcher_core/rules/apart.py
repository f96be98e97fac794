"""Who holds a group of workers up, and how that is said: who stands apart is who is looked for.

Workers that wait for each other look alike: they are in a collective operation, or wait at a socket. One that does
something else is what they wait for. Refuses to name anybody where all look the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

from launcher_core.rules.hang import Mode, Track, has_run, idle_seconds, is_idle, somebody_waits, stuck
from launcher_core.rules.ranks import ranks_text
from launcher_core.rules.stacks import Stack, fold, lines, place_text

WORDS: Mapping[str, str] = {
    "socket": "at a socket",
    "poll": "in poll",
    "futex": "for a lock (futex)",
    "pipe": "for a pipe or FIFO",
    "sleep": "in sleep",
    "child": "for a process that it started",
    "lock": "for a file lock",
    "file": "for a file",
    "signal": "for a signal",
    "semaphore": "for a semaphore",
    "": "in the kernel",
}
"""What a main thread waits in -> how that is said."""
PEERS = ("socket", "poll")
"""Where workers wait for each other."""
ORDER = ("sleep", "pipe", "lock", "file", "semaphore", "signal", "child", "futex", "", "poll", "socket")
"""Of two that wait in different ways, the one that comes first here is the likelier cause."""
_COLLECTIVE = re.compile(
    r"^_?(all_?reduce|all_?gather|all_?to_?all|reduce_scatter|broadcast|(monitored_|store_based_)?barrier)",
    re.IGNORECASE,
)
_COMMUNICATES = re.compile(r"[/\\](torch[/\\]distributed|mpi4py|horovod|deepspeed[/\\]comm)[/\\]")
UNKNOWN = Stack()


class Verdict(NamedTuple):
    """Who hangs, in one sentence and in detail; `ranks` is empty where nobody stands apart."""

    ranks: tuple[int, ...]
    text: str
    details: tuple[str, ...] = ()
    sure: bool = True
    """False where it rests on the stacks alone: then it takes two that are the same."""


def suspects(tracks: Mapping[int, Track], now: float, timeout: float) -> bool:
    """Whether a look at the stacks is worth its while."""
    if stuck(tracks, now, timeout) or is_idle(tracks, now, 2 * timeout):
        return True
    return is_idle(tracks, now, timeout) and somebody_waits(tracks, now, timeout)


def decide(tracks: Mapping[int, Track], stacks: Mapping[int, Stack], now: float, timeout: float) -> Verdict | None:
    """The verdict, None for none yet. `stacks` holds those that could be had."""
    certain = stuck(tracks, now, timeout)
    if certain:
        return _verdict(certain, tracks, stacks, now)
    if not is_idle(tracks, now, timeout):
        return None
    culprits = culprits_of(tracks, stacks)
    if somebody_waits(tracks, now, timeout):
        sure = True
        waits = any(not has_run(tracks[rank], now, timeout) for rank in culprits) or not culprits
    else:  # all run: only the stacks can tell that some wait for the others
        waits = sure = False
        peers = set(tracks).difference(culprits)
        if not culprits or not any(_in_collective(tracks[rank], stacks.get(rank, UNKNOWN)) for rank in peers):
            return None
    if not waits and idle_seconds(tracks, now) < 2 * timeout:
        return None
    return _verdict(culprits, tracks, stacks, now)._replace(sure=sure)


def of_late(late: Mapping[int, str], tracks: Mapping[int, Track], stacks: Mapping[int, Stack], now: float) -> Verdict:
    """The verdict on workers whose heartbeats are overdue, `late` in words: those of them that stand apart, or all."""
    apart = [rank for rank in culprits_of(tracks, stacks) if rank in late] if len(late) > 1 else []
    culprits = apart or sorted(late)

    def words(rank: int) -> str:
        calls = stacks.get(rank, UNKNOWN).calls
        return f"{late[rank]}, {place_text(stacks[rank])}" if calls else late[rank]

    text = _with_pid(_sentence(culprits, words), culprits, tracks)
    return Verdict(tuple(culprits), text, tuple(_details(sorted(tracks), tracks, stacks)))


def wrote(rank: int, line: str, pid: int) -> Verdict:
    """The verdict on a worker that says itself that it hangs."""
    return Verdict((rank,), f"{ranks_text((rank,))} (pid {pid}) wrote {line!r}")


def of_silence(
    silence: str, tracks: Mapping[int, Track], stacks: Mapping[int, Stack], now: float, timeout: float
) -> Verdict:
    """The verdict where no line comes that shows progress; who stands apart is known where nobody gets on."""
    culprits = culprits_of(tracks, stacks) if is_idle(tracks, now, timeout / 2) else ()
    details = tuple(_details(sorted(tracks), tracks, stacks))
    if not culprits:
        return Verdict((), silence, details)
    return Verdict(culprits, f"{silence}; {_verdict(culprits, tracks, stacks, now).text}", details)


def culprits_of(tracks: Mapping[int, Track], stacks: Mapping[int, Stack]) -> tuple[int, ...]:
    """Who stands apart from workers that all make no progress; nobody where they are all alike."""
    live = {rank: track for rank, track in sorted(tracks.items()) if track.mode is not Mode.ENDED}
    ended = tuple(sorted(set(tracks) - set(live)))
    frozen = tuple(rank for rank, track in live.items() if track.mode in (Mode.STOPPED, Mode.BLOCKED))
    if frozen:
        return frozen
    if len(tracks) == 1:
        return tuple(live)
    for waits in (_in_collective, _for_peers):
        apart = tuple(rank for rank, track in live.items() if not waits(track, stacks.get(rank, UNKNOWN)))
        alike = waits is _for_peers and len({_kind(live[rank]) for rank in apart}) == 1
        if 0 < len(apart) < len(live) and not (alike and len(apart) * 2 > len(live)):
            return apart  # most of them, in one way: then that is how they wait for each other
    if ended:
        return ended
    places = _fewest({rank: place_text(stacks.get(rank, UNKNOWN)) for rank in live})
    if all(_in_collective(track, stacks.get(rank, UNKNOWN)) for rank, track in live.items()):
        return places  # how they wait there says nothing
    return (
        _fewest({rank: _kind(track) for rank, track in live.items()})
        or places
        or _likeliest({rank: _kind(track) for rank, track in live.items()})
    )


def _in_collective(track: Track, stack: Stack) -> bool:
    return any(_COLLECTIVE.match(call.function) or _COMMUNICATES.search(call.file) for call in stack.calls)


def _for_peers(track: Track, stack: Stack) -> bool:
    return _in_collective(track, stack) or (track.mode is not Mode.SPINNING and track.sample.wait in PEERS)


def _kind(track: Track) -> tuple[bool, str]:
    """Whether it spins; and if it does not, what it waits in."""
    spins = track.mode is Mode.SPINNING
    return not spins, "" if spins else track.sample.wait


def _fewest(kinds: Mapping[int, Hashable]) -> tuple[int, ...]:
    """The ranks of the one kind that fewer are of than of any other; nobody where no kind is that."""
    groups = _groups(kinds)
    sizes = sorted(len(ranks) for ranks in groups)
    if len(sizes) < 2 or sizes[0] == sizes[1]:
        return ()
    return next(ranks for ranks in groups if len(ranks) == sizes[0])


def _likeliest(kinds: Mapping[int, tuple[bool, str]]) -> tuple[int, ...]:
    groups = {kinds[ranks[0]]: ranks for ranks in _groups(kinds)}
    if len(groups) < 2:
        return ()
    return groups[min(groups, key=lambda kind: (kind[0], ORDER.index(kind[1]) if kind[1] in ORDER else len(ORDER)))]


def _groups(kinds: Mapping[int, Hashable]) -> list[tuple[int, ...]]:
    groups: dict[Hashable, list[int]] = {}
    for rank, kind in kinds.items():
        groups.setdefault(kind, []).append(rank)
    return [tuple(ranks) for ranks in groups.values()]


# --- words -----------------------------------------------------------------------------------------------


def _verdict(culprits: Sequence[int], tracks: Mapping[int, Track], stacks: Mapping[int, Stack], now: float) -> Verdict:
    others = [rank for rank, track in tracks.items() if rank not in culprits and track.mode is not Mode.ENDED]
    if not culprits:
        idle = idle_seconds(tracks, now)
        text = (
            f"no worker of this node has made progress for {idle:.0f} s, and none stands apart: {_rest(others, tracks)}"
        )
        return Verdict((), text, tuple(_details(others, tracks, stacks)))
    said = _sentence(culprits, lambda rank: _alone(tracks[rank], stacks.get(rank, UNKNOWN), tracks, now))
    said = _with_pid(said, culprits, tracks)
    working = [rank for rank in others if tracks[rank].mode is Mode.WORKING]
    rest = f"; {_rest(others, tracks)}" if others and not working else ""
    return Verdict(tuple(culprits), f"{said}{rest}", tuple(_details(sorted(tracks), tracks, stacks)))


def _with_pid(said: str, culprits: Sequence[int], tracks: Mapping[int, Track]) -> str:
    """The sentence, with the process where it is about one."""
    pid = tracks[culprits[0]].sample.pid if len(culprits) == 1 else 0
    return said.replace(ranks_text(culprits), f"{ranks_text(culprits)} (pid {pid})", 1) if pid else said


def _alone(track: Track, stack: Stack, tracks: Mapping[int, Track], now: float) -> str:
    """What is wrong with one, to follow "rank 2"."""
    place = f", {place_text(stack)}" if stack.calls else ""
    seconds = f"{now - track.since:.0f} s"
    if track.mode is Mode.STOPPED:
        return f"has been stopped (state T) for {seconds}"
    if track.mode is Mode.BLOCKED:
        return f"has been in uninterruptible sleep (state D) for {seconds}{place}"
    if track.mode is Mode.ENDED:
        return "has ended already"
    idle = f"{min(idle_seconds(tracks, now), now - track.progress_at):.0f} s"
    if track.mode is Mode.SPINNING:
        return f"has used a CPU for {idle} without any output or input{place}"
    often = ", in small steps," if track.mode is Mode.MOVING else ""
    return f"has waited {WORDS.get(track.sample.wait, track.sample.wait)}{often} for {idle}{place}"


def _rest(ranks: Sequence[int], tracks: Mapping[int, Track]) -> str:
    return _sentence(sorted(ranks), lambda rank: _doing(tracks[rank]))


def _doing(track: Track) -> str:
    if track.mode is Mode.SPINNING:
        return "use a CPU"
    if track.mode is Mode.STOPPED:
        return "are stopped"
    return f"wait {WORDS.get(track.sample.wait, track.sample.wait)}".replace("that it started", "that they started")


def _sentence(ranks: Sequence[int], words: Callable[[int], str]) -> str:
    """What is said of each, once for those of whom the same is said."""
    found: dict[str, list[int]] = {}
    for rank in ranks:
        found.setdefault(words(rank), []).append(rank)
    return ", ".join(f"{ranks_text(those)} {_number(text, len(those))}" for text, those in found.items())


def _number(text: str, count: int) -> str:
    """The words for so many; they are written for one that "has ...", or for several that "wait ..."."""
    first, blank, rest = text.partition(" ")
    forms = {"has": ("has", "have"), "wait": ("waits", "wait"), "use": ("uses", "use"), "are": ("is", "are")}
    return f"{forms.get(first, (first, first))[count > 1]}{blank}{rest}"


def _details(ranks: Sequence[int], tracks: Mapping[int, Track], stacks: Mapping[int, Stack]) -> list[str]:
    """The stacks, folded; of a worker without one what the kernel says."""
    return lines(fold({rank: stacks[rank] for rank in ranks if rank in stacks and tracks[rank].mode is not Mode.ENDED}))
