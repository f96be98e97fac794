"""A launch from a LaunchConfig: chooses the plugins, runs the agent, returns values or raises what happened.

`elastic_launch` and its shapes are torch elastic's: code that uses it changes its import line only.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from launcher_core.cli.tell import Teller
from launcher_core.errors import (
    EXIT_REQUEUE,
    ChildFailedError,
    JobFailedError,
    PreemptedError,
    RendezvousTimeoutError,
    SignalException,
    UsageError,
)
from launcher_core.hooks.manager import Plugins
from launcher_core.hooks.ports import Recorder
from launcher_core.hooks.specs import POLICY_GROUP
from launcher_core.model.job import Command, Node, WorkerState
from launcher_core.model.news import Over
from launcher_core.model.settings import LaunchConfig
from launcher_core.model.value import Value
from launcher_core.rules.signals import forwarded_numbers, preempt_numbers, signal_numbers
from launcher_core.runtime.agent import LocalAgent
from launcher_core.runtime.choose import (
    choose_meeting,
    choose_recorders,
    choose_starter,
    late_watch,
    policy_calls,
    policy_names,
    watches,
)
from launcher_core.runtime.events import Diary
from launcher_core.runtime.parts import Ending, Parts
from launcher_core.runtime.recording import Recording
from launcher_core.runtime.signals import unharmed_by

if TYPE_CHECKING:
    from launcher_core.rules.numa import Binding


class elastic_launch:  # the name is torch elastic's
    """Calling it with the entry point's arguments launches; the result maps global rank to return value.

    `entrypoint` is a function, or a command (the arguments then make up its command line). Raises
    ChildFailedError, JobFailedError, SignalException, a RendezvousError or a UsageError.
    """

    def __init__(self, config: LaunchConfig, entrypoint: Callable[..., Any] | str) -> None:
        self._config = config
        self._entrypoint = entrypoint

    def __call__(self, *args: Any) -> dict[int, Any]:
        """Launch, wait for the end, and return this node's values by global rank (None for commands)."""
        return run(self._config, command_of(self._entrypoint, args))


def command_of(entrypoint: Callable[..., Any] | str, args: Sequence[Any]) -> Command:
    """The Command for a function or a program, with the name that reports give it. Raises UsageError for neither."""
    if not entrypoint or not (callable(entrypoint) or isinstance(entrypoint, str)):
        raise UsageError(f"there is nothing to launch: {entrypoint!r} is no function, and no program's name")
    if callable(entrypoint):
        return Command(function=entrypoint, args=tuple(args), name=getattr(entrypoint, "__name__", repr(entrypoint)))
    words = tuple(str(arg) for arg in args)
    name = next((word for word in words if not word.startswith("-")), entrypoint)
    return Command(argv=(entrypoint, *words), name=name if entrypoint == sys.executable else entrypoint)


class Prepared(Value):
    """Everything a launch needs, chosen and checked; nothing has been started or bound."""

    config: LaunchConfig
    command: Command
    node: Node
    parts: Parts
    recorders: tuple[tuple[str, Recorder], ...]
    plugins: Plugins
    notices: tuple[str, ...] = ()
    """What the user should know, one line each."""


def prepare(config: LaunchConfig, command: Command) -> Prepared:
    """Choose and check every plugin. Raises UsageError."""
    signal_numbers(config.signals_to_handle)
    _signals(config)
    config = _checked(config)._replace(run_id=config.run_id or os.urandom(16).hex())
    plugins = Plugins()
    policies = [plugins.choose(POLICY_GROUP, name) for name in policy_names(config, os.environ)]
    node = _node(config)
    meeting = choose_meeting(config, plugins, policies)
    logs = config.logs_specs
    if logs is None:
        logs = plugins.choose("launcher.logs_specs", config.logs_plugin).ask(
            "launcher_make_logs_specs", config=config.logs
        )
    if hasattr(logs, "check"):
        logs.check()
    starter = choose_starter(config, command, plugins)
    recorders = tuple(choose_recorders(config, plugins))
    bindings, notices = _bindings(config)
    if config.preempt_file and os.path.exists(config.preempt_file):
        notices = (*notices, f"--preempt-file={config.preempt_file}: there already; it counts when it is written again")
    parts = Parts(
        meeting,
        starter,
        logs,
        watches(policies, config),
        *policy_calls(policies),
        bindings=bindings,
        late_watch=late_watch(config, plugins),
    )
    return Prepared(config, command, node, parts, recorders, plugins, (*plugins.notices, *notices))


def run(config: LaunchConfig, command: Command, tell: Teller | None = None) -> dict[int, Any]:
    """Launch and return this node's values by global rank. Raises as `elastic_launch` says."""
    return carry_out(prepare(config, command), tell or Teller(sys.stderr))


def carry_out(launch: Prepared, tell: Teller, heard: Callable[[Ending], None] = lambda ending: None) -> dict[int, Any]:
    """Run what `prepare` prepared; `heard` is told how the agent ended, before anything is made of it."""
    forwarded, preempting = _signals(launch.config)
    with unharmed_by((*forwarded, *preempting)):
        return _carry_out(launch, tell, heard)


def _carry_out(launch: Prepared, tell: Teller, heard: Callable[[Ending], None]) -> dict[int, Any]:
    config = launch.config
    launch.plugins.tell = tell.line
    for notice in launch.notices:
        tell.line(notice)
    recording = Recording(launch.recorders, tell.line)
    diary = Diary(config, launch.command, launch.node, recording)
    succeeded = False
    try:
        agent = LocalAgent(config, launch.command, launch.node, launch.parts, diary, tell, (sys.stdout, sys.stderr))
        agent.look_at = getattr(heard, "look_at", agent.look_at)
        with _status_line(launch, agent):
            ending = agent.run(signal_numbers(config.signals_to_handle), *_signals(config))
        heard(ending)
        _say_where_output_is(launch, ending, tell)
        values = _conclude(launch, ending, diary)
        succeeded = True
        diary.agent_ended("SUCCEEDED")
        return values
    except BaseException as error:
        if isinstance(error, Exception):
            diary.agent_ended("FAILED", raw_error=f"{type(error).__name__}: {error}")
        raise
    finally:
        diary.close()
        _say_where_time_went(diary, tell)
        if hasattr(launch.parts.logs, "close"):
            launch.parts.logs.close(succeeded=succeeded)


def _status_line(launch: Prepared, agent: LocalAgent) -> AbstractContextManager[object]:
    """The line that stands in the last row of a terminal; nothing elsewhere."""
    if launch.config.status_line != "auto" or os.environ.get("TERM", "dumb") == "dumb" or not os.isatty(2):
        return nullcontext()
    from launcher_core.cli.status_line import status_line

    return status_line(2, agent.glance, os.path.basename(launch.command.name))


def _say_where_output_is(launch: Prepared, ending: Ending, tell: Teller) -> None:
    """Name the directory that nobody chose; a report on failed workers names the files themselves."""
    config, written = launch.config, {*ending.dest.stdouts.values(), *ending.dest.stderrs.values()}
    if config.logs_specs is not None or config.logs.log_dir or not written - {"", os.devnull}:
        return
    if not ending.agent.failures:
        from launcher_core.cli.say import output_is_in

        tell.line(output_is_in(launch.parts.logs.root_log_dir))


def _say_where_time_went(diary: Diary, tell: Teller) -> None:
    """What a job that ran more than once spent its time on; one that was not disturbed has nothing to tell."""
    if sum(state == "RUNNING" for state, _ in diary.states) > 1:
        from launcher_core.cli.say import time_spent
        from launcher_core.rules import timeline

        tell.line(time_spent(timeline.time_spent(diary.states)))


def _conclude(launch: Prepared, ending: Ending, diary: Diary) -> dict[int, Any]:
    """The values of a run that succeeded; raises what a run that did not ended with."""
    agent = ending.agent
    base = agent.place.base_rank if agent.place else 0
    won = isinstance(agent.verdict, Over) and agent.verdict.succeeded
    clean = won and agent.signal is None and agent.error is None
    state = WorkerState.SUCCEEDED if clean else WorkerState.FAILED
    diary.ended(state.value, agent.exits, ending.failures)
    if agent.signal is not None and not isinstance(agent.error, PreemptedError):
        signum = signal.Signals(agent.signal)
        raise SignalException(f"Process {os.getpid()} got signal: {int(signum)}", signum)
    if isinstance(agent.error, RendezvousTimeoutError) and agent.place is not None:
        raise _without_a_node(agent.error, ending) from agent.error
    if agent.error is not None:
        raise agent.error
    if won:
        return {base + local: value for local, value in sorted(ending.values.items())}
    raise _failed(launch, ending, base, agent.verdict.reason if isinstance(agent.verdict, Over) else agent.hung)


def _without_a_node(error: RendezvousTimeoutError, ending: Ending) -> RendezvousTimeoutError:
    """The error of a node that waited in vain, with what is known of the node that was lost before."""
    from launcher_core.rules.lost import lost

    told = lost(ending.past)
    known = RendezvousTimeoutError(f"{told['text']}; {error}") if told else error
    known.told = told
    if told is None or told["kind"] == "node_lost":
        known.exit_code = EXIT_REQUEUE  # no other came for it, which another time one may
    return known


def _failed(launch: Prepared, ending: Ending, base: int, reason: str) -> ChildFailedError | JobFailedError:
    """What to raise, of this node's workers or of another's, with the verdict of all nodes where there is one."""
    from launcher_core.cli.report import Verdict, judge, stacks_of
    from launcher_core.rules.ending import stuck_words
    from launcher_core.rules.story import told

    over = ending.agent.verdict
    verdict, nodes = (over.verdict, over.aftermath) if isinstance(over, Over) else (None, ())
    ours = any(not failure.stopped for failure in ending.failures.values()) or bool(ending.agent.hung)
    if not ours and (verdict is None or verdict.get("rank") is None):
        seen = ending.agent.seen
        at = f"; what this node's workers were doing is in {seen.path}" if seen and seen.path else ""
        elsewhere = JobFailedError(f"the job failed on another node: {verdict['text'] if verdict else reason}{at}")
        elsewhere.told = verdict
        return elsewhere
    failures = {base + local: failure for local, failure in sorted(ending.failures.items())}
    case = judge(
        launch.command.name,
        failures,
        ending.dest,
        launch.node.name,
        restarts=ending.agent.place.restarts if ending.agent.place else 0,
        max_restarts=launch.config.max_restarts,
        report_lines=launch.config.report_lines,
        hung=reason if ending.agent.hung else "",
        stacks=stacks_of(ending.agent.seen),
        stuck=stuck_words(ending.agent.remains),
        hung_ranks=[base + local for local in ending.agent.hung_ranks],
        past=ending.past,
        again=lambda rank: ending.again(rank - base),
        world_size=ending.agent.place.world_size if ending.agent.place else 1,
        verdict=Verdict(verdict, nodes) if verdict is not None and verdict.get("rank") is not None else None,
    )
    if not ours:
        elsewhere = JobFailedError(told(case))
        elsewhere.case = case
        return elsewhere
    case = case._replace(refusal=case.refusal or ending.refusal)
    root = case.blamed.rank if case.blamed.rank in failures else None
    error = ChildFailedError(launch.command.name, failures, root=root, report=told(case))
    error.case = case
    return error


def _signals(config: LaunchConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The signals that are for the workers, and those that are a notice. Raises UsageError."""
    handled, forwarded = config.signals_to_handle, config.forward_signals
    return forwarded_numbers(forwarded, handled), preempt_numbers(config.preempt_signal, handled, forwarded)


# --- choosing ---------------------------------------------------------------------------------------------


def _checked(config: LaunchConfig) -> LaunchConfig:
    """The config with a grace. Raises UsageError for numbers that make no sense."""
    if config.nproc_per_node < 1:
        raise UsageError(f"nproc_per_node={config.nproc_per_node}: write a number above 0")
    if not 0 < config.monitor_interval < float("inf"):
        raise UsageError(f"monitor_interval={config.monitor_interval}: write a number of seconds above 0")
    most = config.max_shutdown_timeout
    if most is not None and not 0 <= most < float("inf"):
        raise UsageError(f"max_shutdown_timeout={most}: write a number of seconds, 0 or more")
    if config.shutdown_timeout is None:
        from launcher_core.cli.resolve import grace  # the command line has asked already

        return config._replace(shutdown_timeout=grace(os.environ))
    if not 0 <= config.shutdown_timeout < float("inf"):
        raise UsageError(f"shutdown_timeout must be non-negative, a number of seconds; it is {config.shutdown_timeout}")
    return config


def _node(config: LaunchConfig) -> Node:
    name = socket.gethostname()
    return Node(os.urandom(16).hex(), name, config.nproc_per_node, config.role, config.node_rank, os.getpid())


def _bindings(config: LaunchConfig) -> tuple[tuple[Binding, ...], tuple[str, ...]]:
    """The CPUs of each worker, none when nobody asked for a binding; and a notice where one is done without."""
    if config.numa_options is None:
        return (), ()
    from launcher_core.rules.numa import mode_of
    from launcher_core.runtime.topology import bindings  # seldom wanted

    mode = mode_of(config.numa_options)
    try:
        return bindings(mode, config.nproc_per_node, os.environ), ()
    except UsageError as error:
        if not getattr(config.numa_options, "should_fall_back_if_binding_fails", False):
            raise
        return (), (f"workers are not bound to CPUs: {error}",)


def __getattr__(name: str) -> Any:
    if name != "DefaultLogsSpecs":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher_core.hooks.find import find, load

    return load(find("launcher.logs_specs", "default")).DefaultLogsSpecs
