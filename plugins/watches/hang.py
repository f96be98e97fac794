"""The policy `hang`: finds workers that make no progress, by what /proc tells of them, and names who holds them up.

`--hang-timeout` and `--hang-action` say when and what then. What counts as progress is judged by
`launcher_core.rules.hang`, who is to blame by `launcher_core.rules.apart`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from launcher_core.hooks.ports import Scene
from launcher_core.hooks.specs import hookimpl
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules.apart import Verdict, decide, of_late, of_silence, suspects, wrote
from launcher_core.rules.hang import Mode, Sample, Track, advance, again, stuck
from launcher_core.rules.heartbeat import Beat, is_excused, overdue
from launcher_core.rules.stacks import Stack
from launcher_core.runtime.stacks import collect, kernel_view
from launcher_plugins.watches.listening import Listener, Pattern
from launcher_plugins.watches.pages import Page
from launcher_plugins.watches.probe import look
from launcher_plugins.watches.shelf import keep, output

LOOKS = 10
"""How often it is looked within the timeout,"""
SHORTEST, LONGEST = 0.25, 30.0
"""with so many seconds between two looks."""
STACK_SECONDS = 2.0
HIT_SECONDS = 60.0
"""Between two lines of output that are told of as a hang."""
LISTEN_SECONDS = 1.0
"""Between two looks into the output, where a pattern is looked for."""
END_SECONDS = 3.0
"""How long the end of the group waits for a look that is under way: the stacks are let go at once, a file is not."""
TOO_LATE = 3
"""After so many times the usual pause this process had been stopped, and what it knew is old."""
MOST_SHOWN = 40
"""Lines of stacks on the console."""


@hookimpl
def launcher_make_watch(config: LaunchConfig) -> HangWatch | None:
    """The watch; None where there is nothing to look for."""
    return HangWatch(config) if config.hang_timeout > 0 or config.hang_pattern else None


class HangWatch:
    """Looks at the workers of one start after the other, in a thread of its own."""

    def __init__(self, config: LaunchConfig) -> None:
        self._timeout = config.hang_timeout or float("inf")
        self.bad = Pattern(config.hang_pattern)
        self.good = Pattern(config.progress_pattern)
        self._action = config.hang_action
        self._log_dir = config.logs.log_dir or ""
        self._pause = min(LONGEST, max(SHORTEST, self._timeout / LOOKS))
        self._scene: Scene | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, scene: Scene) -> None:
        """Take in whose workers they are."""
        self._scene = scene

    def start(self, pids: Mapping[int, int], alarm: Callable[[str], None]) -> None:
        """Begin to look. Raises OSError when no thread can be had."""
        if self._scene is None:
            return
        self._stop = threading.Event()
        round = _Round(self, self._scene, dict(pids), self._stop)
        self._thread = threading.Thread(target=round.run, args=(self._pause,), name="launcher-hang", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._thread = None
            raise OSError(f"no thread for it: {error}") from error

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
        self._thread = self._scene = None

    @property
    def timeout(self) -> float:
        """Seconds without progress that are a hang."""
        return self._timeout

    def act(self, scene: Scene, verdict: Verdict) -> None:
        """Tell of the verdict, or give the group up."""
        local = {rank: local for local, rank in scene.ranks.items()}
        ranks = [local[rank] for rank in verdict.ranks]
        text = f"hang: {verdict.text}"
        if self._action != "report":  # the stacks are looked at once more, before the workers are stopped
            scene.give_up(text, ranks, restart=self._action == "restart")
            return
        path = keep(scene.dest, self._log_dir, [verdict.text, *verdict.details])
        shown = [f"stacks: {path}"] if path else list(verdict.details[:MOST_SHOWN])
        hint = "nothing is done about it (--hang-action=report); --hang-timeout says how long to wait"
        scene.report(text, ranks, [*shown, hint])


class _Round:
    """One start of the group. Belongs to the watch's thread."""

    def __init__(self, watch: HangWatch, scene: Scene, pids: Mapping[int, int], stop: threading.Event) -> None:
        self._watch = watch
        self._scene = scene
        self._pids = {scene.ranks[local]: pid for local, pid in pids.items()}
        self._local = {rank: local for local, rank in scene.ranks.items()}
        self._stop = stop
        self._tracks: dict[int, Track] = {}
        self._looked = monotonic()
        self._look_at = 0.0
        self._excused_at = 0.0
        self._ask_again = 0.0
        self._hit_again = 0.0
        self._is_silent = False
        self._guess: tuple[str, ...] = ()
        self._has_waited = scene.world_size == len(scene.ranks)
        """Whether the watches of other nodes have had the time to find who holds up the workers here."""
        self._told: Verdict | None = None
        self._listener = Listener(scene, watch.bad, watch.good) if watch.bad or watch.good else None
        self._pages = {rank: Page() for rank in self._pids}
        self._beats: dict[int, Beat] = {}
        self._going = 0

    def run(self, pause: float) -> None:
        """Look until told to stop. A defect ends the looking, and nothing else."""
        try:
            while True:
                self._listen()
                if monotonic() >= self._look_at and self._watch.timeout < float("inf"):
                    self._look_at = monotonic() + pause
                    self._look(pause)
                if self._stop.wait(min(pause, LISTEN_SECONDS) if self._listener else pause):
                    return
        except Exception as error:
            self._scene.notice(f"hangs are not looked for any more: {type(error).__name__}: {error}")
        finally:
            for page in self._pages.values():
                page.close()

    def _look(self, pause: float) -> None:
        now = monotonic()
        if now - self._looked > TOO_LATE * pause + 1:
            self._tracks, self._excused_at = {}, now
        self._looked = now
        self._tracks = {rank: advance(self._tracks.get(rank), sample) for rank, sample in self._samples().items()}
        late = self._late(now)
        if self._told is not None:
            self._see_whether_it_goes_on(late, now)
        elif now >= self._ask_again and (late or suspects(self._tracks, now, self._watch.timeout)):
            self._suspect(late, now, 2 * pause + STACK_SECONDS)

    def _listen(self) -> None:
        """Look into the workers' output, where a pattern is looked for."""
        listener = self._listener
        if listener is None:
            return
        listener.listen()
        now = monotonic()
        if listener.hit is not None:
            (rank, line), listener.hit = listener.hit, None
            if now >= self._hit_again and not self._stop.is_set():
                self._hit_again = now + HIT_SECONDS
                self._watch.act(self._scene, wrote(rank, line, self._pids[rank]))
        if listener.good_at is None:
            return
        if self._is_silent and now - listener.good_at <= self._watch.timeout:
            self._is_silent = False
            self._scene.resumed("there are lines again that show progress")
        elif not self._is_silent and now - listener.good_at > self._watch.timeout:
            self._is_silent = True
            silence = f"no line of output with {self._watch.good.text!r} has come for {now - listener.good_at:.0f} s"
            verdict = of_silence(silence, self._tracks, self._stacks(), now, self._watch.timeout)
            if not self._stop.is_set():
                self._watch.act(self._scene, verdict)

    def _tell(self, verdict: Verdict) -> None:
        if not self._stop.is_set():
            self._told, self._going = verdict, 0
            self._watch.act(self._scene, verdict)

    def _samples(self) -> dict[int, Sample]:
        """One look at each worker, its heartbeats among it."""
        at_work = {rank: track.sample.pid for rank, track in self._tracks.items()}
        self._beats = {rank: page.read(at_work.get(rank, 0), self._pids[rank]) for rank, page in self._pages.items()}
        samples = look(self._pids, {rank: self._said(rank) for rank in self._pids})
        return {
            rank: sample._replace(excused=is_excused(self._beats[rank], sample.at)) for rank, sample in samples.items()
        }

    def _late(self, now: float) -> dict[int, str]:
        """Whose heartbeats are overdue, but not while a person holds one, or one has asked for time."""
        if any(track.mode is Mode.HELD for track in self._tracks.values()):
            self._excused_at = now
        return overdue(self._beats, now, self._watch.timeout, self._excused_at)

    def _said(self, rank: int) -> tuple[Any, ...]:
        local, beat = self._local[rank], self._beats[rank]
        return (beat.at, beat.since, self._scene.heard(local), *output(self._scene.dest, local))

    def _suspect(self, late: Mapping[int, str], now: float, others: float) -> None:
        """Look at the stacks, and decide; where nobody stands apart, after `others` seconds, as one may elsewhere."""
        stacks = self._stacks()
        verdict = decide(self._tracks, stacks, now, self._watch.timeout)
        if late and (verdict is None or not verdict.ranks):
            verdict = of_late(late, self._tracks, stacks, now)
        self._ask_again = now + self._watch.timeout / 2
        if verdict is not None and not verdict.sure and verdict.details != self._guess:
            self._guess, verdict = verdict.details, None
        if verdict is not None and not verdict.ranks and not self._has_waited:
            self._has_waited, self._ask_again, verdict = True, now + others, None
        if verdict is not None:
            self._tell(verdict)

    def _stacks(self) -> dict[int, Stack]:
        """Where each stands. That they were asked leaves traces, which are taken for what they are."""
        frozen = (Mode.STOPPED, Mode.BLOCKED)
        pids = {rank: track.sample.pid for rank, track in self._tracks.items() if track.mode is not Mode.ENDED}
        asked = {rank: pid for rank, pid in pids.items() if self._tracks[rank].mode not in frozen}
        found = collect(asked, STACK_SECONDS, self._stop)
        found |= {rank: Stack(note=kernel_view(pid)) for rank, pid in pids.items() if rank not in asked}
        self._tracks = {
            rank: again(self._tracks[rank], one) for rank, one in self._samples().items() if rank in self._tracks
        }
        self._looked = monotonic()
        return found

    def _see_whether_it_goes_on(self, late: Mapping[int, str], now: float) -> None:
        """Say so when there is progress again: twice in a row, since one sign may be the answer to a question."""
        if late or stuck(self._tracks, now, self._watch.timeout):
            self._going = 0
            return
        self._going = self._going + 1 if any(one.progress_at >= now for one in self._tracks.values()) else 0
        if self._going >= 2:
            self._told = None
            self._scene.resumed("the workers make progress again")
