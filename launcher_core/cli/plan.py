"""Shows what a launch would do (--dry-run), as text for people or as JSON for programs.

A Plan is plain data that others fill in; nothing is decided or looked up here. The JSON has these keys, and
later versions only add to them; `schema` grows when one changes its meaning:

    schema      1
    notices     [text]
    settings    [{name, value, kind, source}]   kind: flag, variable, default or rule
    plugins     [{group, name, distribution, version, file}]
    rendezvous  {name: text}
    timeouts    [{name, seconds, source}]       seconds: null for no limit
    workers     [{local_rank, rank, role_rank, function, command, environment, cpus, cpus_reason}]

rank and role_rank are null where they are known only when the nodes have met; function is null unless the
worker runs a Python function, whose arguments `command` then holds; environment has what is added to the
launcher's own; cpus is null unless the worker is bound to some.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from launcher_core.cli import say
from launcher_core.cli.parse import Origin
from launcher_core.model.logs import Std
from launcher_core.rules.numa import cpu_list

SCHEMA = 1


@attrs.frozen
class Setting:
    """One setting: a value that JSON knows, and what set it."""

    name: str
    value: Any
    kind: str
    source: str


@attrs.frozen
class PlannedPlugin:
    """A plugin that would be used."""

    group: str
    name: str
    distribution: str
    version: str
    file: str


@attrs.frozen
class PlannedTimeout:
    """A bound on how long something may take; None for no bound."""

    name: str
    seconds: float | None
    source: str = ""


@attrs.frozen
class PlannedWorker:
    """A worker that would be started."""

    local_rank: int
    command: tuple[str, ...]
    environment: Mapping[str, str]
    rank: int | None = None
    role_rank: int | None = None
    function: str | None = None
    cpus: tuple[int, ...] | None = None
    cpus_reason: str = ""


@attrs.frozen
class Plan:
    """Everything that a launch would do on this node."""

    settings: tuple[Setting, ...]
    plugins: tuple[PlannedPlugin, ...]
    rendezvous: Mapping[str, str]
    timeouts: tuple[PlannedTimeout, ...]
    workers: tuple[PlannedWorker, ...]
    notices: tuple[str, ...] = ()
    more_workers: int = 0
    """How many there are beyond those, which text leaves out."""


def settings_of(origin: Mapping[str, Origin]) -> tuple[Setting, ...]:
    """The settings that `resolve` returns, as a plan shows them: options by flag, values as JSON has them."""
    return tuple(Setting(_name(dest), _plain(entry.value), entry.kind, entry.source) for dest, entry in origin.items())


def _name(dest: str) -> str:
    """What people call a setting: --nproc-per-node, or the variable's own name."""
    return dest if dest.isupper() else "--" + dest.replace("_", "-")


def _plain(value: Any) -> Any:
    if isinstance(value, Std):
        return str(value.value)
    if isinstance(value, Mapping):
        joint = ":" if all(isinstance(item, Std) for item in value.values()) else "="
        return ",".join(f"{key}{joint}{_plain(item)}" for key, item in value.items())
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


# --- for programs ----------------------------------------------------------------------------------------


def as_json(plan: Plan) -> str:
    """The plan as one JSON object, in the schema that the module's docstring gives."""
    import json

    document = {
        "schema": SCHEMA,
        "notices": list(plan.notices),
        "settings": _objects(plan.settings),
        "plugins": _objects(plan.plugins),
        "rendezvous": dict(plan.rendezvous),
        "timeouts": _objects(plan.timeouts),
        "workers": _objects(plan.workers),
    }
    return json.dumps(document, indent=2)


def _objects(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows as objects, keys sorted as the fields are."""
    return [{key: _json(value) for key, value in attrs.asdict(row, recurse=False).items()} for row in rows]


def _json(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


# --- for people ------------------------------------------------------------------------------------------


def as_text(plan: Plan) -> str:
    """The plan in sections of aligned columns; what all workers share is shown once."""
    sections = (
        (say.PLAN_NOTICES, plan.notices),
        (say.PLAN_SETTINGS, _settings(plan.settings)),
        (say.PLAN_PLUGINS, _table(_plugin(plugin) for plugin in plan.plugins)),
        (say.PLAN_RENDEZVOUS, _table(plan.rendezvous.items())),
        (say.PLAN_TIMEOUTS, _table(_timeout(timeout) for timeout in plan.timeouts)),
        (say.PLAN_COMMANDS, [*_table(_commands(plan.workers)), *_left_out(plan)]),
        (say.PLAN_CPUS, _table(_cpus(plan.workers))),
        (say.PLAN_ENVIRONMENT, _table(_environment(plan))),
    )
    return "\n\n".join(_section(title, list(lines)) for title, lines in sections if lines)


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _settings(settings: Sequence[Setting]) -> list[str]:
    """A table of the settings; those that nobody chose come last."""
    chosen = [setting for setting in settings if setting.kind != "default"]
    rest = [setting for setting in settings if setting.kind == "default"]
    return _table((one.name, _shown(one.value), _source(one)) for one in (*chosen, *rest))


def _source(setting: Setting) -> str:
    """What set it; nothing more about a default, of which there are many."""
    return setting.source if setting.kind == "default" else f"{setting.kind}: {setting.source}"


def _plugin(plugin: PlannedPlugin) -> tuple[str, str, str, str]:
    return plugin.group, plugin.name, f"{plugin.distribution} {plugin.version}", plugin.file


def _timeout(timeout: PlannedTimeout) -> tuple[str, str, str]:
    bound = say.PLAN_NO_LIMIT if timeout.seconds is None else f"{timeout.seconds:g} s"
    return timeout.name, bound, timeout.source


def _commands(workers: Sequence[PlannedWorker]) -> Iterator[tuple[str, str, str]]:
    """One row for a worker: its ranks, and what it runs as a shell would read it."""
    from shlex import join

    for worker in workers:
        line = join(worker.command)
        runs = line if worker.function is None else f"{worker.function}: {line}"
        yield f"local rank {worker.local_rank}", f"rank {_rank(worker.rank)}", runs


def _left_out(plan: Plan) -> list[str]:
    first = len(plan.workers)
    return [say.more_workers(plan.more_workers, first)] if plan.more_workers else []


def _cpus(workers: Sequence[PlannedWorker]) -> Iterator[tuple[str, str, str]]:
    """One row for a worker that is bound: its CPUs, and why those."""
    for worker in workers:
        if worker.cpus is not None:
            yield f"local rank {worker.local_rank}", cpu_list(worker.cpus), worker.cpus_reason


def _rank(rank: int | None) -> str:
    return say.PLAN_UNKNOWN if rank is None else str(rank)


def _environment(plan: Plan) -> Iterator[tuple[str, str]]:
    """One row for a variable; its values by local rank where they differ, `-` for a worker without it."""
    workers, more = plan.workers, ["..."] if plan.more_workers else []
    names = sorted({name for worker in workers for name in worker.environment})
    for name in names:
        values = [worker.environment.get(name) for worker in workers]
        shown = ["-" if value is None else _shown(value) for value in values]
        yield name, shown[0] if len(set(values)) == 1 else " | ".join([*shown, *more])


def _shown(value: Any) -> str:
    """A value in a table: nothing, empty text and blanks can be told apart."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ",".join(str(item) for item in value) or "-"
    return say.shown(str(value))


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    """The rows as lines with aligned columns; the last column is as wide as it likes."""
    cells = [list(row) for row in rows]
    if not cells:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in cells]
