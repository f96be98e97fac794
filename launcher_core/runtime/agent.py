"""The agent: waits for events, asks the rules, carries out the effects. It decides nothing itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, ClassVar

from launcher_core.errors import LauncherError, StartError, UsageError
from launcher_core.model.job import Command, Node, Worker, WorkerExit
from launcher_core.model.news import Cut, Notice, Over, Regroup, Trouble, Waiting
from launcher_core.model.settings import MOST, LaunchConfig
from launcher_core.rules import steps
from launcher_core.rules.ranks import workers
from launcher_core.rules.retry import Broke, Ledger, broke_of
from launcher_core.rules.steps import HUNG, NOT_STARTED, Alarm, Exited, Stalled, StartFailed, State
from launcher_core.rules.supervise import Agent, Patience, Step, begin, step
from launcher_core.runtime.door import Door
from launcher_core.runtime.events import Diary
from launcher_core.runtime.group import Group, explained
from launcher_core.runtime.last_hands import LastHands
from launcher_core.runtime.loop import Loop
from launcher_core.runtime.parts import Ending, Parts
from launcher_core.runtime.signals import Signals
from launcher_core.runtime.surroundings import environments, prefixes
from launcher_core.runtime.tails import Output
from launcher_core.runtime.warden import Warden
from launcher_core.runtime.watching import StartedGroup, Watching
from launcher_core.worker.failure import ProcessFailure

if TYPE_CHECKING:
    from launcher_core.runtime.standing import Glance

LOOK_AGAIN_SECONDS = 0.01
PAST = 1000
"""How many of the last rounds are remembered with what ended them, for who asks."""
HURRIED_SECONDS = 10.0
"""How long a console that takes nothing is waited for by a launcher that was told to end."""


class LocalAgent:
    """Runs this node's workers, from the first join to the end of the job. One use; from one thread."""

    def __init__(
        self,
        config: LaunchConfig,
        command: Command,
        node: Node,
        parts: Parts,
        diary: Diary,
        tell: Callable[[Any], None],
        streams: tuple[Any, Any],
    ) -> None:
        """`tell` shows people what goes on; `streams` are where tee'd and captured output goes (stdout, stderr)."""
        self._config = config
        self._command = command
        self._node = node
        self._parts = parts
        self._diary = diary
        self._tell = tell
        self._loop = Loop()
        self._warden = Warden()
        self._output = Output(report_lines=config.report_lines, stdout=streams[0], stderr=streams[1])
        filters = (config.duplicate_stdout_filters or (), config.duplicate_stderr_filters or ())
        cpus = [binding.cpus for binding in parts.bindings]
        self._group = Group(parts.starter, self._warden, self._output, parts.logs, config.stdin, filters, cpus)
        grace = 30.0 if config.shutdown_timeout is None else config.shutdown_timeout
        most = MOST * grace if config.max_shutdown_timeout is None else config.max_shutdown_timeout
        patience = Patience(grace=grace, most=most, barrier=config.exit_barrier_timeout)
        self._agent = Agent(config.nproc_per_node, patience)
        self._failures: dict[int, ProcessFailure] = {}
        self._workers: tuple[Worker, ...] = ()
        self._watching = Watching(self._loop, parts.watches, parts.late_watch, lambda text: tell(Notice(text)))
        self._past: deque[Regroup | Cut] = deque(maxlen=PAST)
        self._waiting: Waiting | None = None
        self._ledger = Ledger(config.retry)
        self._refusal = ""
        errands = (parts.preempted, config.on_preempt, self._warden.mark)
        self._last = LastHands(self._group, parts.logs, errands, self._loop.post)
        self._door = Door(self._loop, self._facts)
        self._health = ""

    def run(self, signums: Iterable[int], forwarded: Iterable[int] = (), preempting: Iterable[int] = ()) -> Ending:
        """The end of the run; whatever happens, no process, thread or descriptor is left behind.

        `signums` end the job, `forwarded` are for the workers, `preempting` say that it is preempted.
        """
        with ExitStack() as closing:
            for close in (self._loop.close, self._warden.close, self._close_output):
                closing.callback(close)
            closing.callback(self._let_go, self._parts.starter.close)
            closing.callback(self._let_go, self._parts.meeting.close)
            # From here on outwards no worker is left: a signal means again what it means to this process.
            with Signals(signums, self._loop, forwarded, preempting):
                try:
                    if self._config.preempt_file:
                        from launcher_core.runtime.preempting import PreemptFile

                        closing.callback(PreemptFile(self._config.preempt_file, self._loop.post).close)
                    self._supervise()
                finally:
                    self._door.close()
                    self._last.close()
                    if self._group.pids:
                        self._stop_watching()
                    self._group.abandon()
            group, past = self._group, tuple(self._past)
            return Ending(self._agent, group.values, self._failures, group.dest, self._refusal, past, self._command)

    def _supervise(self) -> None:
        self._open_door()
        try:
            self._warden.start()
            self._parts.meeting.start(self._loop.post)
        except OSError as error:
            raise explained(error) from error
        self._diary.begun()
        self._take(begin(self._agent))
        while not self._is_done():
            for event in self._loop.wait():
                before, taken = self._agent, step(self._agent, event)
                self._diary.stepped(event, before, taken[0])
                self._take(taken)
                if self._is_done() and self._agent.signal is None:
                    break  # a first signal that is still to be heard is this process's own

    def _open_door(self) -> None:
        """Have questions answered from now on. Raises StartError when the port for probes cannot be had."""
        self._door.open(self._node.id[:8])
        if self._config.health is not None:
            host, port = self._config.health
            try:
                self._health = self._door.open_health(host, port)
            except OSError as error:
                raise StartError(f"--health-port={host}{':' if host else ''}{port}: {error.strerror}") from error

    def _facts(self) -> dict[str, Any]:
        """What is known now, for who asks; nothing of it is shared."""
        from launcher_core.runtime.standing import standing, workers_of

        group, agent = self._group, self._agent
        facts = standing(self._config, self._command, self._node, agent, self._past, self._waiting)
        heard = {one.local_rank: self._output.heard(one.local_rank) for one in self._workers}
        workers = workers_of(agent, self._workers, group.pids, group.dest, heard)
        return {**facts, "hang": self._watching.facts(), "health": self._health, "workers": workers}

    def glance(self) -> Glance:
        """How it stands. From any thread."""
        from launcher_core.runtime.standing import glance

        return glance(self._config, self._agent, [self._output.heard(one.local_rank) for one in self._workers])

    def _is_done(self) -> bool:
        return self._agent.state is State.DONE

    def _close_output(self) -> None:
        """Show the rest of the output. A reader that pauses is waited for, unless this process was told to end."""
        told = self._agent.state is not State.DONE or self._agent.signal is not None
        self._output.close(HURRIED_SECONDS if told else None)

    def _let_go(self, close: Callable[[], None]) -> None:
        """Close what a plugin made. What it raises is told, and changes nothing about the result."""
        try:
            close()
        except Exception as error:
            whose = "".join(f"; {note}" for note in getattr(error, "__notes__", ()))
            text = f"something could not be closed: {type(error).__name__}: {error}{whose}"
            self._tell(Trouble(LauncherError(text)))

    def _take(self, taken: Step) -> None:
        self._agent, effects = taken
        for effect in effects:
            self._DO[type(effect)](self, effect)

    # --- effects ----------------------------------------------------------------------------------------

    def _join(self, effect: steps.Join) -> None:
        pause = self._ledger.pause(monotonic()) if effect.restart else 0.0
        if pause:
            self._loop.arm(steps.Rang(Alarm.BACKOFF), pause)
            self._tell(Notice(f"starting again in {pause:g} s (--restart-backoff)"))
            return
        round = self._agent.round + 1
        reason = self._parts.admit(self._node, round)
        if reason:
            self._loop.post(Trouble(UsageError(f"this node must not join round {round}: {reason}")))
            self._parts.meeting.leave(reason)  # the others may go on: closing would end the job for all
            return
        self._diary.joining(self._agent)
        self._parts.meeting.join(self._node)

    def _start(self, effect: steps.Start) -> None:
        place = effect.place
        self._diary.formed(place)
        self._ledger.formed(place.restarts, monotonic())
        self._workers = workers(place, self._config.nproc_per_node)
        self._failures = {}
        try:
            inherited, envs = environments(self._config, self._workers, place, self._parts.extra_env)
            shown = prefixes(self._config, self._workers, self._node.name)
            self._group.start(self._command, self._workers, envs, inherited, shown)
        except LauncherError as error:
            self._loop.post(StartFailed(error))
            return
        except (OSError, ValueError) as error:
            self._loop.post(StartFailed(explained(error)))
            return
        for local, fd in self._group.fds.items():
            self._loop.watch(fd, partial(self._ended, local, fd))
        self._diary.started(self._workers, self._group.pids)
        scene = StartedGroup(place, self._workers, self._group.dest, self._output, self._loop.post)
        self._watching.start(scene, self._group.pids)

    def _ended(self, local: int, fd: int) -> Exited | None:
        """How a worker ended; None as long as a debugger that is attached to it keeps that to itself."""
        try:
            exit = self._group.ended(local)
        except ChildProcessError as error:
            if error.errno is not None:  # somebody else has waited for it
                raise
            sleep(LOOK_AGAIN_SECONDS)  # its descriptor stays readable, so the loop is back here at once
            return None
        self._loop.forget(fd)
        return Exited(exit)

    def _see_to(self, effect: steps.Look | steps.Warn | steps.AskMore | steps.Examine) -> None:
        self._last.see_to(effect, self._agent)

    def _requeue(self, effect: steps.Requeue) -> None:
        meeting = self._parts.meeting
        getattr(meeting, "requeue", meeting.abandon)(f"{effect.notice} on {self._node.name}")

    def _kill(self, effect: steps.Kill) -> None:
        self._last.hurry()
        self._group.kill(effect.signum, effect.local_ranks)

    def _pass(self, effect: steps.Pass) -> None:
        self._group.pass_on(effect.signum, effect.local_ranks)

    def _sweep(self, effect: steps.Sweep) -> None:
        self._stop_watching()
        everyone = [exit.local_rank for exit in self._agent.exits] if self._agent.hung else []
        hung = self._agent.hung_ranks or everyone  # how they end when they are stopped says nothing
        for exit in self._agent.exits:
            if exit.code != 0 or exit.local_rank in hung:
                self._failures[exit.local_rank] = self._failure(exit)
        succeeded = self._agent.state is State.FINISHING
        self._group.sweep(values=succeeded)

    def _stop_watching(self) -> None:
        self._last.close()
        self._watching.stop(self._let_go)

    def _failure(self, exit: WorkerExit) -> ProcessFailure:
        failure = ProcessFailure(
            exit.local_rank,
            exit.pid,
            exit.code,
            self._group.dest.error_files.get(exit.local_rank, ""),
            at=exit.at,
            stderr_tail=self._output.tail(exit.local_rank),
            stopped=exit.stopped,
        )
        failure.explanation = self._watching.explained(exit.local_rank)
        return failure

    def _arm(self, effect: steps.Arm) -> None:
        self._loop.arm(steps.Rang(effect.alarm), effect.seconds)

    def _disarm(self, effect: steps.Disarm) -> None:
        self._loop.disarm()

    def _tell_failed(self, effect: steps.TellFailed) -> None:
        first = self._agent.failures[0] if self._agent.failures else None
        failure = {
            "local_rank": first.local_rank if first else None,
            "exit_code": first.code if first else None,
            "reason": effect.reason,
        }
        spent = self._agent.place.restarts if self._agent.place else 0
        verdict = self._parts.judge(failure, {"spent": spent, "max_restarts": self._config.max_restarts})
        broke = self._broke(first)
        reason = f"{effect.reason} on {self._node.name}{': ' if broke.summary else ''}{broke.summary}"
        left = self._config.max_restarts - spent + self._ledger.forgiven(monotonic())
        self._refusal = self._ledger.refusal(broke) if left > 0 and not effect.final else ""
        why_not = "a policy decided not to restart" if verdict == "stop" else self._refusal
        self._testify(steps.TellKnown(effect.round, first.local_rank if first else HUNG))
        if why_not or effect.final:
            if why_not:  # a watch that ends the job has been heard already
                reason = f"{reason}; {why_not}"
                self._tell(Over(False, reason))
            self._parts.meeting.abandon(reason)
        else:
            forgiven = self._ledger.forgiven(monotonic())
            self._parts.meeting.failed(effect.round, reason, *([forgiven] if forgiven else []))

    def _testify(self, effect: steps.TellKnown) -> None:
        """Tell the others what is known, where there are others, and a meeting that passes on more than a reason."""
        place, meeting = self._agent.place, self._parts.meeting
        if place is not None and place.group_world_size > 1 and hasattr(meeting, "testify"):
            from launcher_core.runtime.witness import Scene, testify

            scene = Scene(self._node, place, self._agent, self._command, self._group.dest, self._refusal)
            testify(meeting, scene, effect, self._failures, self._failure)

    def _broke(self, exit: WorkerExit | None) -> Broke:
        """How the group failed, as far as it says of what is worth another start."""
        uptime = self._ledger.uptime(monotonic())
        if exit is None or exit.code < 0:
            return Broke(uptime=uptime)
        from launcher_core.rules.blame import read_failure

        failed = read_failure(exit.local_rank, self._failure(exit))
        return broke_of(failed.error, failed.stderr, uptime)

    def _tell_finished(self, effect: steps.TellFinished) -> None:
        self._parts.meeting.finished(effect.round)

    def _leaving(self, effect: steps.Leaving) -> None:
        getattr(self._parts.meeting, "leaving", str)(effect.reason)

    def _leave(self, effect: steps.Leave) -> None:
        if isinstance(self._agent.error, StartError | UsageError):
            self._testify(steps.TellKnown(self._agent.round, NOT_STARTED))
        self._parts.meeting.leave(effect.reason)

    def _say(self, effect: steps.Say) -> None:
        if isinstance(effect.about, Regroup | Cut):
            self._past.append(effect.about)
            self._ledger.heard(effect.about, monotonic())
        elif isinstance(effect.about, Waiting):
            self._waiting = effect.about
        elif isinstance(effect.about, Stalled):
            self._watching.told(effect.about)
        self._tell(effect.about)

    _DO: ClassVar[dict[type, Callable[[LocalAgent, Any], None]]] = {
        steps.Join: _join,
        steps.Start: _start,
        **dict.fromkeys((steps.Look, steps.Warn, steps.AskMore, steps.Examine), _see_to),
        steps.Requeue: _requeue,
        steps.Kill: _kill,
        steps.Pass: _pass,
        steps.Sweep: _sweep,
        steps.Arm: _arm,
        steps.Disarm: _disarm,
        steps.TellFailed: _tell_failed,
        steps.TellKnown: _testify,
        steps.TellFinished: _tell_finished,
        steps.Leaving: _leaving,
        steps.Leave: _leave,
        steps.Say: _say,
    }
