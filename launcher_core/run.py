"""The command line as a library: `main(argv)` and the helpers that torchrun's users know by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from launcher_core.cli.answer import answer
from launcher_core.cli.parse import parse_args
from launcher_core.errors import ChildFailedError, UsageError
from launcher_core.rules.sizes import parse_min_max_nnodes

__all__ = ["config_from_args", "get_args_parser", "main", "parse_args", "parse_min_max_nnodes", "run"]


def get_args_parser() -> Any:
    """An argparse parser of all options, for programs that wrap this one."""
    from launcher_core.cli.parser import get_args_parser as build

    return build()


def config_from_args(args: Any) -> tuple[Any, Callable[..., Any] | str, list[Any]]:
    """(LaunchConfig, function or program, its arguments) for parsed arguments. Raises UsageError."""
    from launcher_core.cli.facts import this_machine
    from launcher_core.cli.resolve import resolve_args

    config, command, *_ = resolve_args(args, this_machine(os.environ))
    if command.function is not None:
        return config, command.function, list(command.args)
    return config, command.argv[0], list(command.argv[1:])


def main(argv: Sequence[str] | None = None) -> None:
    """Launch what the command line says; without one, this process's.

    Returns None when every worker of this node succeeded. Raises what `elastic_launch` raises; SystemExit for
    words that cannot be read. The error of a failed worker is copied to $TORCHELASTIC_ERROR_FILE, if that is set.
    """
    from launcher_core.worker.record import ErrorHandler, record

    class Handler(ErrorHandler):
        def initialize(self) -> None:
            """Nothing: what this process prints when it crashes is for its owner to decide."""

    record(_main, Handler())(sys.argv[1:] if argv is None else list(argv))


def _main(argv: list[str]) -> None:
    run(parse_args(argv))


def run(args: Any) -> None:
    """Launch what parsed arguments say: those of `parse_args`, of `get_args_parser`, or a program's own.

    Returns and raises what `main` does.
    """
    if getattr(args, "list_plugins", False):
        from launcher_core.cli.plugin_list import plugin_list

        answer(plugin_list())
        return
    from launcher_core.cli.facts import this_machine
    from launcher_core.cli.resolve import blamed, resolve_args
    from launcher_core.cli.tell import Teller

    resolved = resolve_args(args, this_machine(os.environ))
    from launcher_core import launch

    try:
        report_file = _report_file(resolved.report)
        prepared = launch.prepare(resolved.config, resolved.command)
    except UsageError as error:
        raise blamed(error, resolved.origin) from error.__cause__
    if resolved.dry_run:
        from launcher_core.dry_run import show

        answer(show(resolved, prepared))
        return
    tell = Teller(sys.stderr)
    for notice in resolved.notices:
        tell.line(notice)
    if report_file is None:
        _carry_out(prepared, tell, resolved.exit_code)
        return
    with report_file.about(prepared, tell) as heard:
        _carry_out(prepared, tell, resolved.exit_code, heard)


def _carry_out(prepared: Any, tell: Any, exit_code: str, *heard: Any) -> None:
    from launcher_core import launch

    try:
        launch.carry_out(prepared, tell, *heard)
    except ChildFailedError as error:
        if exit_code == "worker":
            code = error.get_first_failure()[1].exitcode
            error.exit_code = code if code > 0 else 128 - code
        raise


def _report_file(path: str) -> Any:
    """Where the report is to be written; None for nowhere. Raises UsageError for a place that takes no file."""
    if not path:
        return None
    from launcher_core.report_file import ReportFile

    return ReportFile(path)
