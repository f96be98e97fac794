"""Resolves a request once: from the command line, the variables and this machine to a LaunchConfig.

After this nobody reads an option or a PET_ variable again. Everything is checked before anything is started
or created, and the environment is never changed.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from launcher_core.cli import command, rendezvous, say, values
from launcher_core.cli.facts import Facts, this_machine
from launcher_core.cli.options import ASK, OPTIONS, by_dest
from launcher_core.cli.parse import Origin, parse_args
from launcher_core.errors import PluginError, UsageError
from launcher_core.model.job import Command
from launcher_core.model.logs import Std, to_map
from launcher_core.model.settings import LONGEST, MOST, LaunchConfig, LogsConfig, Retry
from launcher_core.rules.sizes import parse_min_max_nnodes, parse_nproc

T = TypeVar("T")

SHUTDOWN_VARIABLE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
BARRIER_VARIABLE = "TORCH_ELASTIC_EXIT_BARRIER_TIMEOUT"
PREFIX_VARIABLE = "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE"
THREADS_VARIABLE = "OMP_NUM_THREADS"
GRACE = 30.0


class Resolved(NamedTuple):
    """A request with nothing left to decide."""

    config: LaunchConfig
    command: Command
    exit_code: str
    """Whose exit code the launcher ends with when workers fail: "one" (always 1) or "worker"."""
    dry_run: str
    """"text" or "json" when the launch is only to be shown, else empty."""
    origin: Mapping[str, Origin]
    """Every setting by dest, in the table's order: its value in effect, and what set it."""
    notices: tuple[str, ...] = ()
    """What the user should know, one line each."""
    report: str = ""
    """The file for the final report as JSON; empty for none."""


def resolve(
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    facts: Facts | None = None,
) -> Resolved:
    """The request that a command line makes; without one, this process's.

    `facts` replaces this machine, and its environment, in tests. Raises SystemExit as `parse_args` does, and
    UsageError for a request that cannot be carried out.
    """
    facts = facts or this_machine(_environment() if environ is None else environ)
    return resolve_args(parse_args(argv, facts.environ), facts)


def resolve_args(args: Any, facts: Facts | None = None) -> Resolved:
    """The request that a namespace makes: that of `parse_args`, of the argparse parser, or a program's own.

    Without `facts`, on this machine. Raises UsageError.
    """
    facts = facts or this_machine(_environment())
    if args.training_script is None:
        raise UsageError(say.script_missing())
    settings = origins(args)
    low, high = _checked(settings["nnodes"], parse_min_max_nnodes)
    settings |= _workers(settings["nproc_per_node"], facts)
    settings |= _timeouts(settings, facts.environ)
    settings |= _values(settings, facts.environ)
    choice = rendezvous.choose(settings, low, high, facts.new_run_id)
    settings |= choice.changed
    built = command.build(settings, args.training_script, args.training_script_args, facts)
    threads = _threads(settings["nproc_per_node"].value, facts.environ)
    config = _config(settings, low, high, threads)
    output = (*_idle(settings), *_unheard(settings))
    notices = (*choice.notices, *output, *_thread_notice(config), *_misspelled(facts.environ))
    origin = {option.dest: settings[option.dest] for option in OPTIONS if option.group != ASK}
    exit_code, dry_run = settings["exit_code"].value, settings["dry_run"].value
    return Resolved(config, built, exit_code, dry_run, origin | threads, notices, settings["report"].value or "")


def origins(args: Any) -> dict[str, Origin]:
    """The Origin of every option in a namespace, by dest.

    Where the namespace does not tell, or was changed since, a value that is not the default counts as given.
    """
    known: Mapping[str, Origin] = getattr(args, "origin", {})
    found: dict[str, Origin] = {}
    for dest, option in by_dest().items():
        value = getattr(args, dest, option.default)
        entry = known.get(dest)
        if entry is None or entry.value != value:
            default = value == option.default
            entry = Origin(value, "default" if default else "flag", "default" if default else option.flag)
        found[dest] = entry
    return found


def local_world_size(text: str, count: Callable[[str], int]) -> int:
    """How many workers --nproc-per-node means on this node. Raises UsageError when that cannot be said."""
    wanted = parse_nproc(text)
    return wanted if isinstance(wanted, int) else count(wanted)


def _workers(entry: Origin, facts: Facts) -> dict[str, Origin]:
    count = _checked(entry, lambda text: local_world_size(text, facts.count))
    return {"nproc_per_node": entry._replace(value=count)}


def grace(environ: Mapping[str, str]) -> float:
    """Seconds between a polite stop and SIGKILL where no option says: torch elastic's variable, else 30.

    Raises UsageError for a variable that is no number of seconds.
    """
    unsaid = Origin(None, "default", "default")
    seconds: float = _seconds(unsaid, "shutdown_timeout", SHUTDOWN_VARIABLE, GRACE, environ).value
    return seconds


def _timeouts(settings: Mapping[str, Origin], environ: Mapping[str, str]) -> dict[str, Origin]:
    """Grace and exit barrier: the option, else torch elastic's variable, else the default."""
    found = {
        dest: _seconds(settings[dest], dest, variable, default, environ)
        for dest, variable, default in (
            ("shutdown_timeout", SHUTDOWN_VARIABLE, GRACE),
            ("exit_barrier_timeout", BARRIER_VARIABLE, 300.0),
        )
    }
    return {**found, "max_shutdown_timeout": _most(settings["max_shutdown_timeout"], found["shutdown_timeout"])}


def _most(entry: Origin, grace: Origin) -> Origin:
    """How long a worker gets that asks for more than the grace: the option, else MOST times the grace."""
    if entry.value is None:
        return Origin(min(MOST * grace.value, LONGEST), "default", "default")
    seconds = _checked(entry, lambda value: values.duration("--max-shutdown-timeout", value))
    if seconds < grace.value:
        raise UsageError(say.less_than_the_grace(seconds, grace.value))
    return entry._replace(value=seconds)


def _seconds(entry: Origin, dest: str, variable: str, default: float, environ: Mapping[str, str]) -> Origin:
    if entry.value is None:
        text = environ.get(variable)
        if text is None:
            return Origin(default, "default", "default")
        try:
            entry = Origin(float(text), "variable", variable)
        except ValueError:
            raise UsageError(say.not_a_number(f"{variable}={text!r}", "seconds")) from None
    flag = by_dest()[dest].flag
    return entry._replace(value=_checked(entry, lambda value: values.duration(flag, value)))


def _values(settings: Mapping[str, Origin], environ: Mapping[str, str]) -> dict[str, Origin]:
    """The settings that stand by themselves, as what their texts mean."""
    workers = settings["nproc_per_node"].value
    meanings: dict[str, Callable[[Any], Any]] = {
        "rdzv_conf": values.rdzv_conf,
        "max_restarts": lambda value: values.at_least("--max-restarts", value, 0),
        "restart_backoff": lambda text: text if values.backoff(text) else None,
        "restart_window": values.window,
        "restart_min_uptime": lambda value: values.duration("--restart-min-uptime", value),
        "monitor_interval": lambda value: values.interval("--monitor-interval", value),
        "hang_timeout": lambda value: values.duration("--hang-timeout", value),
        "hang_pattern": lambda text: values.pattern("--hang-pattern", text),
        "progress_pattern": lambda text: values.pattern("--progress-pattern", text),
        "report_lines": lambda value: values.at_least("--report-lines", value, 0),
        "redirects": lambda text: values.streams("--redirects", text, workers),
        "tee": lambda text: values.streams("--tee", text, workers),
        "local_ranks_filter": lambda text: values.ranks_filter(text, workers),
        "duplicate_stdout_filters": lambda texts: values.line_filters("--duplicate-stdout-filters", texts),
        "duplicate_stderr_filters": lambda texts: values.line_filters("--duplicate-stderr-filters", texts),
        "signals_to_handle": values.signal_names,
        "forward_signals": lambda text: values.forwarded_names(text, settings["signals_to_handle"].value),
        "preempt_signal": lambda text: values.preempt_names(
            text, settings["signals_to_handle"].value, settings["forward_signals"].value
        ),
        "preempt_file": values.preempt_file,
        "local_addr": values.local_address,
        "stdin": lambda text: values.stdin_reader(text, workers),
        "policy": lambda text: values.names("--policy", text),
        "health_port": lambda text: text if values.health(text) else None,
    }
    found = {dest: (settings[dest], meaning) for dest, meaning in meanings.items()}
    meant = {dest: entry._replace(value=_checked(entry, meaning)) for dest, (entry, meaning) in found.items()}
    return {**meant, "log_line_prefix_template": _prefix(settings["log_line_prefix_template"], environ)}


def _prefix(entry: Origin, environ: Mapping[str, str]) -> Origin:
    """The header of shown lines: the option, else torch elastic's variable; None where both are empty."""
    text = environ.get(PREFIX_VARIABLE)
    if entry.value:
        return entry
    return Origin(text, "variable", PREFIX_VARIABLE) if text else Origin(None, "default", "default")


def _checked(entry: Origin, meaning: Callable[[Any], T]) -> T:
    """What the setting's value means; an error names the variable that set it."""
    try:
        return meaning(entry.value)
    except UsageError as error:
        if entry.kind != "variable":
            raise
        raise type(error)(say.set_by(error, entry.source)) from None


def blamed(error: UsageError, settings: Mapping[str, Origin]) -> UsageError:
    """The error about a plugin, or about what it was told, with the variable where one set the option it begins with.

    What a plugin that was found says of itself may be about any of its settings: that stays as it is.
    """
    for dest, entry in settings.items():
        if entry.kind != "variable" or dest not in by_dest():
            continue
        flag = by_dest()[dest].flag
        own = dest in _PLUGINS and not isinstance(error, PluginError)
        if not own and str(error).startswith((f"{flag}=", f"{flag}:", f"{flag} ")):
            return type(error)(say.set_by(error, entry.source))
    return error


_PLUGINS = ("rdzv_backend", "start_method", "logs_specs", "event_log_handler", "policy")


def _threads(workers: int, environ: Mapping[str, str]) -> dict[str, Origin]:
    """OMP_NUM_THREADS=1 where several workers would each take all CPUs, unless the user has set it."""
    if workers == 1 or THREADS_VARIABLE in environ:
        return {}
    return {THREADS_VARIABLE: Origin("1", "rule", "several workers on one node")}


def _thread_notice(config: LaunchConfig) -> tuple[str, ...]:
    return (say.one_thread_each(config.nproc_per_node),) if THREADS_VARIABLE in config.worker_env else ()


def _idle(settings: Mapping[str, Origin]) -> tuple[str, ...]:
    """Notices for options about files of output that have no effect."""
    tee, log_dir = settings["tee"].value, settings["log_dir"].value
    files = ("redirects", "tee", "duplicate_stdout_filters", "duplicate_stderr_filters")
    given = [by_dest()[dest].flag for dest in files if settings[dest].given and settings[dest].value]
    if log_dir == "/dev/null":
        return (say.nothing_kept(given, log_dir),) if given else ()
    streams = (tee,) if isinstance(tee, Std) else tuple(tee.values())
    return tuple(
        say.filters_copy_what_is_shown(by_dest()[dest].flag, stream)
        for dest, stream, bit in zip(files[2:], ("stdout", "stderr"), (Std.OUT, Std.ERR), strict=True)
        if settings[dest].value and not any(bit & shown for shown in streams)
    )


def _unheard(settings: Mapping[str, Origin]) -> tuple[str, ...]:
    """Notices for patterns that are looked for in output that the launcher does not see."""
    given = [dest for dest in ("hang_pattern", "progress_pattern") if settings[dest].value]
    if not given:
        return ()
    if "progress_pattern" in given and not settings["hang_timeout"].value:
        raise UsageError(say.no_time_for_progress())
    workers = settings["nproc_per_node"].value
    kept = settings["log_dir"].value != "/dev/null"
    files = [to_map(settings[dest].value, workers) for dest in ("redirects", "tee")] if kept else []
    seen = [{rank for rank in range(workers) if any(bit & one[rank] for one in files)} for bit in (Std.OUT, Std.ERR)]
    captured = settings["report_lines"].value > 0
    unseen = [name for name, ranks, else_seen in (("stdout", seen[0], False), ("stderr", seen[1], captured))
              if len(ranks) < workers and not else_seen]  # fmt: skip
    return (say.output_unseen([by_dest()[dest].flag for dest in given], unseen),) if unseen else ()


def _misspelled(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Notices for PET_ variables that mean nothing but look much like one that does."""
    known = [option.variable.removeprefix("PET_") for option in OPTIONS if option.variable]
    stems = (name.removeprefix("PET_") for name in environ if name.startswith("PET_"))
    pairs = ((stem, say.closest(stem, known, likeness=0.8)) for stem in stems if stem not in known)
    return tuple(say.unknown_variable(f"PET_{stem}", f"PET_{near}") for stem, near in pairs if near)


def _config(settings: Mapping[str, Origin], low: int, high: int, threads: Mapping[str, Origin]) -> LaunchConfig:
    now = {dest: entry.value for dest, entry in settings.items()}
    configs: dict[str, Any] = dict(now["rdzv_conf"])
    if now["rdzv_backend"] == "static":
        configs["rank"] = now["node_rank"]
    return LaunchConfig(
        min_nodes=low,
        max_nodes=high,
        nproc_per_node=now["nproc_per_node"],
        run_id=now["rdzv_id"],
        rdzv_configs=configs,
        numa_options=now["numa_binding"],
        logs_plugin=now["logs_specs"] or "default",
        logs=LogsConfig(now["log_dir"] or None, now["redirects"], now["tee"], now["local_ranks_filter"]),
        policies=now["policy"],
        health=values.health(now["health_port"]),
        retry=_retry(now),
        worker_env={name: entry.value for name, entry in threads.items()},
        **{dest: now[dest] for dest in _SAME},
    )


def _retry(now: Mapping[str, Any]) -> Retry:
    pauses = values.backoff(now["restart_backoff"])
    return Retry(*pauses, now["restart_window"], now["restart_min_uptime"], now["retry_same_failure"])


_SAME = (
    "role", "rdzv_endpoint", "rdzv_backend", "max_restarts", "monitor_interval", "start_method",
    "log_line_prefix_template", "local_addr", "event_log_handler", "signals_to_handle",
    "duplicate_stdout_filters", "duplicate_stderr_filters", "virtual_local_rank", "shutdown_timeout",
    "node_rank", "exit_barrier_timeout", "stdin", "report_lines", "forward_signals", "status_line", "hang_timeout",
    "hang_action", "hang_pattern", "progress_pattern",
    "preempt_signal", "preempt_file", "on_preempt", "max_shutdown_timeout",
)  # fmt: skip
"""The settings that LaunchConfig calls by their dest."""


def _environment() -> Mapping[str, str]:
    import os

    return os.environ
