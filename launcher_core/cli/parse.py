"""Turns a command line and the PET_ variables into arguments, each with the place that it came from.

No argparse on this path: `split` has read the words already. What asks to be shown and needs no plugin
(--help, --version, --print-completion, --status, --stacks) is answered here, before anything expensive is imported.
"""

import sys
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, NoReturn

from launcher_core.cli import say
from launcher_core.cli.answer import answer
from launcher_core.cli.options import OPTIONS, Option, convert
from launcher_core.cli.split import Split, split
from launcher_core.errors import EXIT_USAGE, UsageError


class Origin(NamedTuple):
    """One setting's value and where it is from: `source` is the flag as written, a variable, or a rule."""

    value: Any
    kind: Literal["flag", "variable", "default", "rule"]
    source: str

    @property
    def given(self) -> bool:
        """Whether the user chose the value."""
        return self.kind in ("flag", "variable")


class Arguments(SimpleNamespace):
    """The arguments by dest, with torchrun's names; `origin` has each option's Origin by dest."""

    origin: dict[str, Origin]
    training_script: str | None
    training_script_args: list[str]


def read(argv: Sequence[str], environ: Mapping[str, str]) -> Arguments:
    """The arguments that a command line and the PET_ variables give; flags win over variables.

    A variable is not looked at when its flag is given. Raises UsageError.
    """
    parts = split(argv)
    return _arguments(parts, flags(parts), environ)


def flags(parts: Split) -> dict[str, Origin]:
    """The options that were given as flags, by dest; of a repeated one the last counts. Raises UsageError."""
    return {option.dest: _flag(option, value, written) for option, value, written in parts.given}


def _flag(option: Option, value: str | None, written: str) -> Origin:
    meant = True if value is None else convert(option, value, written)
    return Origin(meant, "flag", written)


def _arguments(parts: Split, given: Mapping[str, Origin], environ: Mapping[str, str]) -> Arguments:
    origin = {option.dest: given.get(option.dest) or unflagged(option, environ) for option in OPTIONS}
    values = {dest: entry.value for dest, entry in origin.items()}
    return Arguments(**values, training_script=parts.script, training_script_args=list(parts.args), origin=origin)


def unflagged(option: Option, environ: Mapping[str, str]) -> Origin:
    """What an option is when no flag gives it. Raises UsageError when its variable makes no sense."""
    text = environ.get(option.variable) if option.variable else None
    if text is None:
        return Origin(option.default, "default", "default")
    return Origin(convert(option, text, f"{option.variable}={text!r}"), "variable", option.variable)


def parse_args(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> Arguments:
    """The arguments of a command line; without one, this process's.

    Prints and raises SystemExit, as argparse does: 0 after --help, --version and --print-completion, 0 or 1 after
    --status and --stacks, 2 for words that cannot be read and for a missing script (--list-plugins needs none).
    Raises UsageError for a PET_ variable that makes no sense.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        parts = split(words)
        given = flags(parts)
    except UsageError as error:
        refuse(error)
    _answer(given, parts.script)
    if parts.script is None and "list_plugins" not in given:
        refuse(UsageError(say.script_missing()))
    return _arguments(parts, given, _environment() if environ is None else environ)


def refuse(error: UsageError) -> NoReturn:
    """Show the error and how to call the program on stderr, and raise SystemExit(2)."""
    print(say.wrong_words(error), file=sys.stderr)
    raise SystemExit(EXIT_USAGE)


def _answer(given: Mapping[str, Origin], word: str | None) -> None:
    """Print what was asked for and raise SystemExit; return when nothing of the kind was.

    `word` is what stands in the script's place.
    """
    if "help" in given:
        from launcher_core.cli.usage import help_text

        text = help_text()
    elif "version" in given:
        from launcher_core import __version__

        text = say.version(__version__)
    elif "print_completion" in given:
        from launcher_core.cli.completion import script

        text = script(given["print_completion"].value)
    elif "status" in given or "stacks" in given:
        from launcher_core.cli.ask import ask

        raise SystemExit(ask(given, word))
    else:
        return
    answer(text)
    raise SystemExit(0)


def _environment() -> Mapping[str, str]:
    import os

    return os.environ
