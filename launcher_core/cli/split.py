"""Finds the script in a command line, and reads the options before it; what follows is never looked at.

A parser that sorts all words into options and arguments first trips over the script's own flags. Here the
words are read from the left, once, and reading ends at the script. Nothing is converted and nothing is
printed: `parse` does that.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from launcher_core.cli import say
from launcher_core.cli.options import OPTIONS, Option
from launcher_core.errors import UsageError


class Given(NamedTuple):
    """One option as it was given: `value` is None for a switch, `written` what the user typed."""

    option: Option
    value: str | None
    written: str


class Split(NamedTuple):
    """A command line in three parts. `at` counts the words before the script, a `--` among them."""

    given: tuple[Given, ...]
    script: str | None
    args: tuple[str, ...]
    at: int


def split(argv: Sequence[str], options: Iterable[Option] = OPTIONS) -> Split:
    """The options before the script, the script, and the words after it, untouched.

    A `--` before the script ends the options and is dropped. Raises UsageError for a word that is no option,
    an abbreviation that could mean several, a value that is missing, and a value that is not wanted.
    """
    spellings = {spelling: option for option in options for spelling in option.spellings}
    given: list[Given] = []
    at = 0
    while at < len(argv) and _is_option(argv[at]):
        if argv[at] == "--":
            at += 1
            break
        read = _long if argv[at].startswith("--") else _short
        found, at = read(argv, at, spellings)
        given += found
    script = argv[at] if at < len(argv) else None
    return Split(tuple(given), script, tuple(argv[at + 1 :]), at)


def resolve_spelling(name: str, spellings: dict[str, Option]) -> Option:
    """The option that a long spelling or a beginning of one means.

    A beginning that torchrun's options share with ours means torchrun's. Raises UsageError when it means none
    or several.
    """
    if name in spellings:
        return spellings[name]
    starts = {option.dest: option for spelling, option in spellings.items() if spelling.startswith(name)}
    theirs = {dest: option for dest, option in starts.items() if option.torchrun}
    candidates = list((theirs or starts).values())
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise UsageError(say.ambiguous(name, [option.flag for option in candidates]))
    known = tuple(dict.fromkeys(option.flag for option in spellings.values()))
    raise UsageError(say.no_such_option(name, known))


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _is_value(word: str) -> bool:
    """Whether the word may be the value of the option before it; argparse's rule, minus its oddities."""
    if not _is_option(word):
        return True
    digits = word[1:].replace(".", "", 1)
    return digits.isdigit() or (" " in word and not word.startswith("--"))


def _long(argv: Sequence[str], at: int, spellings: dict[str, Option]) -> tuple[list[Given], int]:
    """The option at `at`, and the index of the word after it."""
    word = argv[at]
    name, joined, value = word.partition("=")
    option = resolve_spelling(name, spellings)
    if option.kind == "switch":
        if joined:
            raise UsageError(say.value_not_wanted(word, option.flag))
        return [Given(option, None, word)], at + 1
    if joined:
        return [Given(option, value, word)], at + 1
    if option.bare is not None:
        return [Given(option, option.bare, word)], at + 1
    return _with_next(option, argv, at)


def _short(argv: Sequence[str], at: int, spellings: dict[str, Option]) -> tuple[list[Given], int]:
    """The options of one word such as `-m`, `-r3` or `-mr3`, and the index of the word after them."""
    word = argv[at]
    found: list[Given] = []
    for index, letter in enumerate(word[1:], 1):
        option = spellings.get(f"-{letter}")
        if option is None:
            raise UsageError(say.no_such_option(word, known=()))
        rest = word[index + 1 :]
        if option.kind != "switch":
            if not rest:
                last, after = _with_next(option, argv, at)
                return [*found, last[0]], after
            return [*found, Given(option, rest.removeprefix("="), word)], at + 1
        if rest.startswith("="):
            raise UsageError(say.value_not_wanted(word, option.flag))
        found.append(Given(option, None, word))
    return found, at + 1


def _with_next(option: Option, argv: Sequence[str], at: int) -> tuple[list[Given], int]:
    if at + 1 == len(argv) or not _is_value(argv[at + 1]):
        follower = argv[at + 1] if at + 1 < len(argv) else None
        raise UsageError(say.value_missing(argv[at], option.flag, follower))
    return [Given(option, argv[at + 1], f"{argv[at]} {argv[at + 1]}")], at + 2
