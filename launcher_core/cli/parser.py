"""An argparse parser with the launcher's options, for programs that wrap the launcher and add their own.

The launcher itself does not use it. Unlike plain argparse it leaves the words after the script alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from launcher_core.cli import say
from launcher_core.cli.options import ASK, GROUPS, OPTIONS, Option, by_dest, convert
from launcher_core.cli.parse import unflagged
from launcher_core.cli.split import Given, Split, split
from launcher_core.errors import UsageError

ARGS = "training_script_args"
ANSWERED = ("version", "print_completion", "status", "stacks")
BARE = ("dry_run", "status", "stacks")


class Parser(argparse.ArgumentParser):
    """Cuts the command line at the script, and has argparse read what comes before."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """argparse's, but that everything after the script is the script's."""
        import sys

        words = list(sys.argv[1:] if args is None else args)
        parts = _cut(words, self._actions)
        if parts is None or parts.script is None:
            return super().parse_known_args(words, namespace)
        plain = [_plain(given) for given in parts.given]
        found, extra = super().parse_known_args([*plain, "--", parts.script], namespace)
        setattr(found, ARGS, list(parts.args))
        return found, extra


def get_args_parser(environ: Mapping[str, str] | None = None) -> argparse.ArgumentParser:
    """A new parser; PET_ variables are read now and become defaults.

    Raises UsageError when one of them makes no sense.
    """
    import os

    parser = Parser(prog=say.PROGRAM, description=say.HEADER)
    variables = os.environ if environ is None else environ
    for title in GROUPS:
        group = parser.add_argument_group(title)
        for option in OPTIONS:
            if option.group == title and option.dest != "help":
                _add(group, option, unflagged(option, variables).value)
    parser.add_argument("training_script", help="the program to run")
    parser.add_argument(ARGS, nargs=argparse.REMAINDER, help="its arguments, untouched")
    return parser


def _add(group: Any, option: Option, default: Any) -> None:
    names = (*(name for name in option.spellings if not name.startswith("--")), *_long(option))
    shared = {"dest": option.dest, "help": _quoted(option.help)}
    if option.dest in ANSWERED:
        words = 0 if option.kind == "switch" else None if option.bare is None else "?"
        unset = argparse.SUPPRESS if option.bare is None else default
        group.add_argument(*names, **shared, action=_Answer, nargs=words, default=unset)
    elif option.kind == "switch":
        group.add_argument(*names, **shared, action="store_true", default=default)
    else:
        nargs = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        value = {"type": _type(option), "metavar": option.metavar or None, **nargs}
        group.add_argument(*names, **shared, **value, default=default)


def _long(option: Option) -> tuple[str, ...]:
    return tuple(name for name in option.spellings if name.startswith("--"))


def _quoted(text: str) -> str:
    """The text as argparse wants help texts: a percent sign is a format there."""
    return text.replace("%", "%%")


def _type(option: Option) -> Any:
    """What argparse converts the option's text by."""

    def typed(text: str) -> Any:
        try:
            return text if text == option.default else convert(option, text, repr(text))
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return typed


class _Answer(argparse.Action):
    """Prints what was asked for, and ends the program."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        from launcher_core.cli.parse import parse_args

        bare = by_dest()[self.dest].bare
        if bare is not None:
            words = [f"{option_string}={bare if values is None else values}"]
        else:
            words = [str(option_string), *([values] if isinstance(values, str) else [])]
        parse_args(words, {})


def _cut(words: Sequence[Any], actions: Sequence[argparse.Action]) -> Split | None:
    """The command line, cut at the script; None when this parser has to find it argparse's own way.

    That is so when a program added arguments of other shapes, and when the words before the script are wrong.
    """
    options = tuple(_shape(action) for action in actions if action.option_strings)
    places = [action for action in actions if not action.option_strings]
    if None in options or [action.dest for action in places] != ["training_script", ARGS]:
        return None
    try:
        return split(words, [option for option in options if option is not None])
    except (UsageError, AttributeError):
        return None


def _plain(given: Given) -> str:
    """The option spelled out in one word, which argparse cannot mistake for another."""
    return given.option.flag if given.value is None else f"{given.option.flag}={given.value}"


def _shape(action: argparse.Action) -> Option | None:
    """How an option of argparse's is written; None for one that takes several words."""
    names = tuple(sorted(action.option_strings, key=len, reverse=True))
    if action.nargs == 0:
        return Option(action.dest, names, "switch", None, "", ASK, "", "", (), None, True)
    if action.nargs is None:
        return Option(action.dest, names, "text", None, "", ASK, "", "", (), None, True)
    if action.nargs == "?" and action.dest in BARE:
        return Option(action.dest, names, "text", None, "", ASK, "", "", (), "text", False)
    return None
