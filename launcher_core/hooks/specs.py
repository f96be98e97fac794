"""The hooks: every signature that a plugin may implement, and nothing else.

A plugin is a module or an object that an entry point names. Its functions bear the hooks' names, are marked with
`launcher_core.hookimpl`, and may take any subset of a hook's arguments. The makers are asked of exactly one
plugin, the one that was named; policies of every plugin that `--policy` names, in that order.

Unless a docstring says otherwise a hook is called from the main thread of the agent, once per launch, and
before anything was started. It may block for a moment (read a file, resolve a name). When it raises, the
launch ends with the error: ValueError and OSError as bad input (exit code 2), anything else as a defect of
that plugin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pluggy

from launcher_core.hooks.ports import (
    Declaration,
    LogsSpecs,
    Meeting,
    Recorder,
    RendezvousBackend,
    RendezvousHandler,
    Starter,
    Store,
    Watch,
)
from launcher_core.model.job import Node, Place, Worker
from launcher_core.model.settings import LaunchConfig, LogsConfig, RendezvousParameters

PROJECT = "launcher"
PREFIX = "launcher_"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

MAKERS = {
    "launcher.rendezvous": "launcher_make_rendezvous",
    "launcher.stores": "launcher_make_store",
    "launcher.logs_specs": "launcher_make_logs_specs",
    "launcher.start_methods": "launcher_make_starter",
    "launcher.event_recorders": "launcher_make_recorder",
}
"""Entry-point group -> the hook that a plugin of that group must implement."""

POLICY_GROUP = "launcher.policies"


@hookspec(firstresult=True)
def launcher_declare() -> Declaration | None:
    """Say what the plugin can do and which --rdzv-conf keys it takes. Optional; must not block.

    A dict with the fields of a Declaration will do, capabilities by their names.
    """


@hookspec(firstresult=True)
def launcher_make_rendezvous(
    params: RendezvousParameters, store: Store | None
) -> RendezvousHandler | RendezvousBackend | Meeting:
    """Return the rendezvous of group `launcher.rendezvous` that `--rdzv-backend` named.

    `store` is given to plugins that declare SHARES_STORE; they serve it to the workers.
    """


@hookspec(firstresult=True)
def launcher_make_store(params: RendezvousParameters) -> Store:
    """Return the store of group `launcher.stores` that `--rdzv-conf store=` named (default `c10d`)."""


@hookspec(firstresult=True)
def launcher_make_logs_specs(config: LogsConfig) -> LogsSpecs:
    """Return the logs specs of group `launcher.logs_specs` that `--logs-specs` named.

    Creates nothing yet: directories are made by `reify`, when workers start.
    """


@hookspec(firstresult=True)
def launcher_make_starter() -> Starter:
    """Return the starter of group `launcher.start_methods` that `--start-method` named."""


@hookspec(firstresult=True)
def launcher_make_recorder(argument: str | None, log_dir: str | None) -> Recorder:
    """Return the recorder of group `launcher.event_recorders` that `--event-log-handler` named.

    `argument` is what follows `NAME=` in the flag, None without it; `log_dir` is --log-dir as given.
    """


@hookspec
def launcher_admit(node: Node, round: int) -> str | None:
    """Say why this node must not join, or None. Policy; before every round; may block up to 60 seconds.

    The first reason given keeps the node out: the launch ends with it.
    """


@hookspec(firstresult=True)
def launcher_assign_ranks(participants: Sequence[Node], facts: Mapping[str, Any]) -> Sequence[int] | None:
    """Return the participants' group ranks in their order, or None for the default order. Policy.

    Called by the thread that serves the rendezvous, on the node that hosts it; must not block. `facts` has
    `round` and `previous` (node id -> group rank of the round before). The ranks must be 0 to N-1, each once;
    anything else, or an exception, falls back to the default with a notice.
    """


@hookspec(firstresult=True)
def launcher_judge(failure: Mapping[str, Any], budget: Mapping[str, int]) -> str | None:
    """Decide on a failure of this node's workers: "restart", "stop", or None for the default. Policy.

    `failure` has `local_rank`, `exit_code`, `reason`; `budget` has `spent` and `max_restarts`. "restart" beyond
    the budget is not granted. Called before each restart; must not block.
    """


@hookspec
def launcher_preempted(notice: str, seconds: float) -> None:
    """Do what has to be done before the workers of a preempted job are stopped. Policy; once on each node.

    A thread of its own; may block for `seconds`, the grace, after which the workers are stopped all the same.
    `notice` says where the preemption comes from.
    """


@hookspec
def launcher_worker_env(worker: Worker, place: Place) -> Mapping[str, str] | None:
    """Return variables to add to this worker's environment, or None. Policy; before every start.

    Later policies win over earlier ones, and all of them over the launcher's own variables.
    """


@hookspec(firstresult=True)
def launcher_make_watch(config: LaunchConfig) -> Watch | None:
    """Return a detector of hangs or bad health, or None. Policy."""
