"""Reads stacks as faulthandler and py-spy print them, and folds those of many workers into a few lines.

A stack is innermost first, as both print it. Workers whose main threads stand at the same place are one group; the
smallest groups come first, because who stands apart is who is looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from launcher_core.rules.python_error import LIBRARY
from launcher_core.rules.ranks import ranks_text

_THREAD = re.compile(r"^(Current thread|Thread) 0x[0-9a-f]+(?: \[[^\]]*\])? \(most recent call first\):$")
_FRAME = re.compile(r'^  File "(.*)", line (\d+|\?\?\?) in (.*)$')
DEEPEST = 100
"""Frames of a stack that are shown; more of them say nothing new."""
NO_STACK = " (no Python stack: "
"""What stands in a note between what the kernel says and why there is nothing better."""


class Call(NamedTuple):
    """One frame; `line` 0 is unknown."""

    function: str
    file: str
    line: int


class Stack(NamedTuple):
    """What one worker was doing: the calls of its main thread, those of its other threads, how that is known.

    Without calls `note` says what is known instead.
    """

    calls: tuple[Call, ...] = ()
    others: tuple[tuple[Call, ...], ...] = ()
    source: str = ""
    note: str = ""


class Fold(NamedTuple):
    """Workers that do the same."""

    ranks: tuple[int, ...]
    stack: Stack


def from_faulthandler(text: str) -> Stack:
    """The stack in a dump of all threads. The main one is that which took the signal, else the last of all."""
    threads: list[list[Call]] = []
    main = -1
    for line in text.splitlines():
        head, frame = _THREAD.match(line), _FRAME.match(line)
        if head:
            threads.append([])
            main = len(threads) - 1 if head[1] == "Current thread" else main
        elif frame and threads:
            threads[-1].append(Call(frame[3], frame[1], int(frame[2]) if frame[2].isdigit() else 0))
    return _stack(threads, main, "faulthandler")


def from_py_spy(threads: Any, pid: int) -> Stack:
    """The stack in what `py-spy dump --json` gives; empty when it is of another shape."""
    found: list[list[Call]] = []
    main = -1
    for thread in threads if isinstance(threads, list) else ():
        if not isinstance(thread, Mapping):
            continue
        found.append([_call(frame) for frame in thread.get("frames") or () if isinstance(frame, Mapping)])
        if thread.get("os_thread_id") == pid or thread.get("thread_name") == "MainThread":
            main = len(found) - 1
    return _stack(found, main, "py-spy")


def _call(frame: Mapping[str, Any]) -> Call:
    """A frame. A bare address stands for native code without a name, and is another one in each process."""
    line, name = frame.get("line"), str(frame.get("name"))
    return Call(
        "?" if name.startswith("0x") else name, str(frame.get("filename")), line if isinstance(line, int) else 0
    )


def _stack(threads: Sequence[Sequence[Call]], main: int, source: str) -> Stack:
    if not threads:
        return Stack(source=source, note="the dump holds no thread")
    main %= len(threads)
    others = [tuple(calls) for index, calls in enumerate(threads) if index != main and calls]
    return Stack(tuple(threads[main]), tuple(sorted(others)), source)


# --- folding ---------------------------------------------------------------------------------------------


def fold(stacks: Mapping[int, Stack]) -> tuple[Fold, ...]:
    """The workers by what they do, given by rank; the fewest first, then by rank."""
    groups: dict[Stack, list[int]] = {}
    for rank, stack in sorted(stacks.items()):
        groups.setdefault(stack, []).append(rank)
    folds = (Fold(tuple(ranks), stack) for stack, ranks in groups.items())
    return tuple(sorted(folds, key=lambda one: (len(one.ranks), one.ranks)))


def place_text(stack: Stack) -> str:
    """Where it stands: "in all_reduce, train.py:41": the innermost function, and the last place in the user's code."""
    if not stack.calls:
        return stack.note
    inner = stack.calls[0]
    own = next((call for call in stack.calls if _is_own(call)), inner)
    return f"in {inner.function}, {own.file.rpartition('/')[2]}:{own.line or '?'}"


def _is_own(call: Call) -> bool:
    """Whether it is the user's own Python."""
    return call.file.endswith((".py", ">")) and not LIBRARY.search(call.file)


def brief(folds: Iterable[Fold], most: int) -> tuple[str, ...]:
    """A line for each place where workers stand, the first `most` of them, and one for the ranks that are left out."""
    places: dict[str, list[int]] = {}
    for ranks, stack in folds:
        places.setdefault(place_text(stack).partition(NO_STACK)[0], []).extend(ranks)
    shown = [f"{ranks_text(ranks)}: {place}" for place, ranks in places.items()]
    left = [rank for ranks in list(places.values())[most:] for rank in ranks]
    return (*shown[:most], f"and {ranks_text(left)}") if left else tuple(shown)


def lines(folds: Iterable[Fold]) -> list[str]:
    """What a person reads: one line for each group, its stack below."""
    found: list[str] = []
    for ranks, stack in folds:
        found.append(f"{ranks_text(ranks)}: {place_text(stack)}")
        found += _shown(stack.calls, "    ")
        for number, calls in enumerate(stack.others, 1):
            found += [f"    another thread ({number} of {len(stack.others)}):", *_shown(calls, "        ")]
    return found


def _shown(calls: Sequence[Call], indent: str) -> list[str]:
    shown = [f"{indent}{call.function} ({call.file}:{call.line or '?'})" for call in calls[:DEEPEST]]
    return [*shown, f"{indent}... {len(calls) - DEEPEST} more"] if len(calls) > DEEPEST else shown


# --- as JSON ---------------------------------------------------------------------------------------------


def to_json(stack: Stack) -> dict[str, Any]:
    """The stack as an object for JSON."""
    return {
        "calls": [list(call) for call in stack.calls],
        "others": [[list(call) for call in calls] for calls in stack.others],
        "source": stack.source,
        "note": stack.note,
    }


def from_json(found: Mapping[str, Any]) -> Stack:
    """The stack that `to_json` made an object of."""
    others = tuple(tuple(Call(*call) for call in calls) for calls in found["others"])
    return Stack(tuple(Call(*call) for call in found["calls"]), others, found["source"], found["note"])
