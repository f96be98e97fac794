"""Lays out --help: examples first, then the options by task. The words are those of `say` and the table."""

from __future__ import annotations

from collections.abc import Iterator

from launcher_core.cli import say
from launcher_core.cli.options import GROUPS, OPTIONS, Option

WIDTH = 80
COLUMN = 34


def help_text() -> str:
    """The whole of --help, without the last line's end."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield from (say.USAGE, "", say.HEADER, "", "Examples:")
    for what, command in say.EXAMPLES:
        yield from (f"  # {what}", f"  {command}")
    for group in GROUPS:
        yield from ("", f"{group}:")
        for option in OPTIONS:
            if option.group == group:
                yield from _option(option)
    yield ""
    yield from say.NOTES


def _option(option: Option) -> Iterator[str]:
    """One option: its spelling in a column, its meaning beside it, or below where the spelling is long."""
    left = f"  {_spelling(option)}"
    text = list(_wrapped(option.help + _default(option), WIDTH - COLUMN))
    if len(left) < COLUMN:
        left = left.ljust(COLUMN) + text.pop(0)
    yield left
    for line in text:
        yield " " * COLUMN + line


def _spelling(option: Option) -> str:
    short = "".join(f"{spelling}, " for spelling in option.spellings if not spelling.startswith("--"))
    if option.bare is not None:
        return f"{short}{option.flag}[={option.metavar}]"
    return f"{short}{option.flag}" + (f"={option.metavar}" if option.kind != "switch" else "")


def _default(option: Option) -> str:
    """The default in brackets, where it is a value that a user could write."""
    if option.kind == "switch" or option.default in (None, "", []):
        return ""
    return f" [{option.default}]"


def _wrapped(text: str, width: int) -> Iterator[str]:
    """The text in lines of at most `width`; a longer word gets a line of its own."""
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    yield line
