"""What --dry-run shows: the plan of a launch whose plugins have been chosen; nothing is bound or started."""

from __future__ import annotations

import os
from collections.abc import Iterator

from launcher_core.cli.plan import (
    Plan,
    PlannedPlugin,
    PlannedTimeout,
    PlannedWorker,
    as_json,
    as_text,
    settings_of,
)
from launcher_core.cli.resolve import Resolved
from launcher_core.hooks.find import file_of
from launcher_core.launch import Prepared
from launcher_core.model.job import Place, Worker
from launcher_core.model.settings import MOST, Retry
from launcher_core.rules.ranks import spans, workers
from launcher_core.rules.retry import LONGEST_BACKOFF
from launcher_core.rules.supervise import Patience
from launcher_core.rules.worker_env import Group, expand, worker_env
from launcher_core.runtime.warden import MARK

MOST_SHOWN = 64
"""Workers that people are shown one by one; programs are told of all."""
AT_START = "(known when the workers start)"


def show(resolved: Resolved, prepared: Prepared) -> str:
    """The plan in the form that --dry-run asked for."""
    if resolved.dry_run == "json":
        return as_json(plan_of(resolved, prepared, prepared.config.nproc_per_node))
    return as_text(plan_of(resolved, prepared, MOST_SHOWN))


def plan_of(resolved: Resolved, prepared: Prepared, most: int) -> Plan:
    """Everything that the launch would do on this node, as far as it is known before the nodes have met.

    Of the workers the first `most` are planned one by one; the others are like them.
    """
    config = prepared.config
    origin = resolved.origin
    described = prepared.parts.meeting.describe()
    found = [plugin.found for plugin in prepared.plugins.chosen]
    grace = config.shutdown_timeout if config.shutdown_timeout is not None else Patience().grace
    longest: float = MOST * grace if config.max_shutdown_timeout is None else config.max_shutdown_timeout
    return Plan(
        settings=settings_of(origin),
        plugins=tuple(PlannedPlugin(one.group, one.name, one.distribution, one.version, file_of(one)) for one in found),
        rendezvous=described,
        timeouts=(
            PlannedTimeout("from a polite stop to SIGKILL", grace, "--shutdown-timeout"),
            PlannedTimeout("to SIGKILL for a worker that asks for more time", longest, "--max-shutdown-timeout"),
            PlannedTimeout("for a look at workers that are to be stopped", Patience().look, "fixed"),
            PlannedTimeout("for what is run before a preempted job is stopped", grace, "--shutdown-timeout"),
            PlannedTimeout("for the other nodes to finish", config.exit_barrier_timeout, "--exit-barrier-timeout"),
            *_pauses(config.retry),
            PlannedTimeout("without progress, until it is a hang", config.hang_timeout or None, "--hang-timeout"),
            PlannedTimeout("for workers to vanish after SIGKILL", Patience().reap, "fixed"),
            PlannedTimeout("for those that do not, if the job is to go on", Patience().linger, "fixed"),
        ),
        workers=_workers(prepared, described, min(most, config.nproc_per_node)),
        notices=resolved.notices,
        more_workers=max(0, config.nproc_per_node - most),
    )


def _pauses(retry: Retry) -> Iterator[PlannedTimeout]:
    """What the --restart-... flags ask for; nothing where they are not given."""
    if retry.backoff:
        most = retry.backoff * LONGEST_BACKOFF if retry.backoff_max is None else retry.backoff_max
        yield PlannedTimeout("before the first restart", retry.backoff, "--restart-backoff")
        yield PlannedTimeout("before a restart, at most", most, "--restart-backoff")
    if retry.window is not None:
        yield PlannedTimeout("until a restart counts no more", retry.window, "--restart-window")
    if retry.min_uptime:
        yield PlannedTimeout("that workers must run to be restarted", retry.min_uptime, "--restart-min-uptime")


def _workers(prepared: Prepared, described: dict[str, str], count: int) -> tuple[PlannedWorker, ...]:
    config = prepared.config
    place = _place(prepared, described)
    ranks_known = config.max_nodes == 1
    common = Group(config.nproc_per_node, config.role, config.run_id, config.max_restarts, config.virtual_local_rank)
    later = (*_ALWAYS_LATER, *(() if ranks_known else _LATER))
    known_late = dict.fromkeys(later, AT_START)
    known_late.update((name, described[name]) for name in _MASTER if name in described)
    base = {**os.environ, **config.worker_env}
    planned = []
    for worker in workers(place, count):
        env = {**config.worker_env, **worker_env(worker, place, common, base), **known_late}
        planned.append(_worker(prepared, worker, env, ranks_known=ranks_known))
    return tuple(planned)


_MASTER = ("MASTER_ADDR", "MASTER_PORT")
_ALWAYS_LATER = ("TORCHELASTIC_ERROR_FILE", MARK)
_LATER = ("RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE")


def _worker(prepared: Prepared, worker: Worker, env: dict[str, str], *, ranks_known: bool) -> PlannedWorker:
    command = prepared.command
    words = command.argv or tuple(str(arg) for arg in command.args)
    bindings = prepared.parts.bindings
    bound = bindings[worker.local_rank] if bindings else None
    return PlannedWorker(
        worker.local_rank,
        tuple(expand(word, worker.local_rank) for word in words),
        env,
        worker.rank if ranks_known else None,
        worker.role_rank if ranks_known else None,
        getattr(command.function, "__qualname__", None) if command.function else None,
        cpus=tuple(sorted(bound.cpus)) if bound else None,
        cpus_reason=bound.reason if bound else "",
    )


def _place(prepared: Prepared, described: dict[str, str]) -> Place:
    config = prepared.config
    span = spans([(config.role, config.nproc_per_node)])[0]
    return Place(0, 0, 1, *span, described.get("MASTER_ADDR", ""), 0)
