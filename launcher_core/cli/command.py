"""Builds what every worker runs from the script and the options about it, and refuses what cannot run.

`${local_rank}` in the arguments stays as it is: each worker's is filled in when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launcher_core.cli import say
from launcher_core.cli.facts import Facts
from launcher_core.cli.parse import Origin
from launcher_core.errors import UsageError
from launcher_core.model.job import Command


def build(settings: Mapping[str, Origin], script: str, args: Sequence[str], facts: Facts) -> Command:
    """The command for the script; --run-path wins over --no-python and --module, as in torchrun.

    Raises UsageError when there is nothing to run, and when options exclude each other.
    """
    if not script:
        raise UsageError(say.script_is_empty())
    if settings["run_path"].value:
        return _in_process(script, args, facts)
    module, program = settings["module"].value, settings["no_python"].value
    if module and program:
        raise UsageError(say.module_without_python())
    if program:
        return _program(script, args, facts)
    if not module:
        _check_script(script, facts)
    words = (_interpreter(facts), "-u", *(["-m"] if module else []), script, *args)
    return Command(argv=words, name=script)


def _in_process(script: str, args: Sequence[str], facts: Facts) -> Command:
    from launcher_core.worker.script import run_script_path

    _check_script(script, facts)
    return Command(function=run_script_path, args=(script, *args), name=script)


def _program(script: str, args: Sequence[str], facts: Facts) -> Command:
    if facts.find_program(script) is None:
        raise UsageError(say.no_such_program(script))
    return Command(argv=(script, *args), name=script)


def _check_script(script: str, facts: Facts) -> None:
    """Refuse a script that is not there; `-` is standard input."""
    if script != "-" and not facts.exists(script):
        raise UsageError(say.no_such_script(script))


def _interpreter(facts: Facts) -> str:
    """PYTHON_EXEC, or the interpreter that runs the launcher."""
    wanted = facts.environ.get("PYTHON_EXEC")
    if wanted is None:
        return facts.executable
    if not wanted or facts.find_program(wanted) is None:
        raise UsageError(say.python_exec_unusable(wanted))
    return wanted
