"""What the texts of single options mean. Each function takes the text alone, and touches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from signal import Signals

from launcher_core.cli import say
from launcher_core.errors import UsageError
from launcher_core.model.logs import Std, StdChoice
from launcher_core.model.settings import LONGEST
from launcher_core.rules.endpoint import split_endpoint
from launcher_core.rules.signals import forwarded_numbers, preempt_numbers, signal_numbers


def rdzv_conf(text: str) -> dict[str, str]:
    """The pairs of --rdzv-conf, stripped; of a repeated key the last counts.

    One pair of quotes around the whole is dropped, which a shell was expected to drop, and a comma at the end
    is tolerated. Raises UsageError for an item that is no pair and for a key without a value.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    text = text.removesuffix(",").strip()
    return dict(_pair(item) for item in text.split(",")) if text else {}


def _pair(item: str) -> tuple[str, str]:
    key, _, value = (part.strip() for part in item.partition("="))
    if not key:
        raise UsageError(say.bad_pair(item))
    if not value:
        raise UsageError(say.no_value(key))
    return key, value


def streams(flag: str, text: str, workers: int) -> StdChoice:
    """What --redirects or --tee asks for. Raises UsageError, also for a local rank that no worker has."""
    try:
        choice = Std.from_str(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if not isinstance(choice, Std):
        _within(flag, choice, workers)
    return choice


def ranks_filter(text: str, workers: int) -> frozenset[int] | None:
    """The local ranks of --local-ranks-filter, None for all. Raises UsageError for a rank that nobody has."""
    if not text.strip():
        return None
    flag = "--local-ranks-filter"
    ranks = frozenset(_rank(flag, item) for item in text.split(","))
    _within(flag, ranks, workers)
    return ranks


def _rank(flag: str, item: str) -> int:
    try:
        return int(item)
    except ValueError:
        raise UsageError(say.not_a_rank(flag, item)) from None


def _within(flag: str, ranks: Iterable[int], workers: int) -> None:
    for rank in sorted(ranks):
        if not 0 <= rank < workers:
            raise UsageError(say.no_such_rank(flag, rank, workers))


def line_filters(flag: str, texts: list[str]) -> list[str]:
    """The texts of a duplicate filter as they are. Raises UsageError when one of them is empty."""
    if "" in texts:
        raise UsageError(say.empty_filter(flag))
    return texts


def names(flag: str, text: str) -> tuple[str, ...]:
    """The names of a comma-separated list, stripped. Raises UsageError when one of them is empty."""
    if not text.strip():
        return ()
    found = tuple(name.strip() for name in text.split(","))
    if "" in found:
        raise UsageError(say.empty_name(flag, text))
    return found


def stdin_reader(text: str, workers: int) -> str:
    """Who reads standard input: a local rank, "all" or "none". Raises UsageError for anybody else."""
    reader = text.strip().lower()
    if reader in ("all", "none"):
        return reader
    if not (reader.isascii() and reader.isdigit() and len(reader) < 1000):  # Python refuses to read thousands of digits
        raise UsageError(say.bad_stdin(text))
    _within("--stdin", (int(reader),), workers)
    return str(int(reader))


def local_address(text: str | None) -> str | None:
    """The host of --local-addr as it was given. Raises UsageError for what can be no host, and for a port."""
    try:
        port = split_endpoint(text)[1] if text else None
    except UsageError:
        raise UsageError(say.no_host("--local-addr", text or "")) from None
    if port is not None:
        raise UsageError(say.no_host("--local-addr", text or ""))
    return text


def signal_names(text: str) -> str:
    """The signals of --signals-to-handle, comma-separated, as this platform spells them, each once.

    Raises UsageError for a name that no signal has, for a signal that cannot be handled, and for none at all.
    """
    numbers = signal_numbers(text)
    if not numbers:
        raise UsageError(say.no_signals())
    return ",".join(dict.fromkeys(Signals(number).name for number in numbers))


def forwarded_names(text: str, handled: str) -> str:
    """The signals of --forward-signals in the same way, none for none. Raises UsageError, also for one of `handled`."""
    return ",".join(dict.fromkeys(Signals(number).name for number in forwarded_numbers(text, handled)))


def preempt_names(text: str, handled: str, forwarded: str) -> str:
    """The signals of --preempt-signal in the same way. Raises UsageError, also for one that means something else."""
    return ",".join(dict.fromkeys(Signals(number).name for number in preempt_numbers(text, handled, forwarded)))


def preempt_file(text: str | None) -> str:
    """The file of --preempt-file, "" for none. Raises UsageError where no such file can appear."""
    import os

    if not text:
        return ""
    folder = os.path.dirname(os.path.abspath(text)) if "\0" not in text else ""
    if not os.path.isdir(folder) or os.path.isdir(text):
        raise UsageError(f"--preempt-file={text!r}: no file can appear there; name one in a directory that exists")
    return os.path.abspath(text)


def at_least(flag: str, value: int, least: int) -> int:
    """The whole number. Raises UsageError when it is less than `least`."""
    if value < least:
        raise UsageError(say.too_small(flag, value, f"{least} or more"))
    return value


def duration(flag: str, seconds: float) -> float:
    """The seconds, LONGEST at most. Raises UsageError unless they are finite and not negative."""
    if not 0 <= seconds < float("inf"):
        raise UsageError(say.too_small(flag, seconds, "seconds, 0 or more"))
    return min(seconds, LONGEST)


def interval(flag: str, seconds: float) -> float:
    """The seconds, LONGEST at most. Raises UsageError unless they are finite and more than none."""
    if not 0 < seconds < float("inf"):
        raise UsageError(say.too_small(flag, seconds, "seconds, more than 0"))
    return min(seconds, LONGEST)


def health(text: str | None) -> tuple[str, int] | None:
    """Host and port of --health-port. Raises UsageError."""
    if text is None or not text.strip():
        return None
    flag = "--health-port"
    text = text.strip()
    host, port = ("", int(text)) if text.isascii() and text.isdecimal() else split_endpoint(text, flag)
    if port is None or not 0 <= port <= 65535:
        raise UsageError(f"{flag}={text!r}: write a port, or HOST:PORT; port 0 takes any that is free")
    return host, port


def backoff(text: str) -> tuple[float, float | None]:
    """The pauses of --restart-backoff: the first and the longest, None unless given. Raises UsageError."""
    first, colon, most = text.partition(":")
    try:
        pauses = float(first), float(most) if colon else None
    except ValueError:
        raise UsageError(say.bad_backoff(text)) from None
    longest = pauses[0] if pauses[1] is None else pauses[1]
    if not 0 <= pauses[0] <= longest < float("inf"):
        raise UsageError(say.bad_backoff(text))
    return pauses


def window(seconds: float | None) -> float | None:
    """The seconds of --restart-window, None for no end. Raises UsageError unless they are finite and above 0."""
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(say.too_small("--restart-window", seconds, "seconds, more than 0"))
    return seconds


def pattern(flag: str, text: str) -> str:
    """The regular expression as it is. Raises UsageError for a text that is none."""
    if text:
        import re

        try:
            re.compile(text)
        except re.error as error:
            raise UsageError(f"{flag}={text!r} is no regular expression: {error}") from None
    return text
