"""The report on a failed launch: what a person needs to see, the root cause first.

Plain text in aligned columns, about ten lines when nothing is unusual.  Refuses to guess: what a worker
printed is shown as it is, and what a signal or an exit code means is said in a few words.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from launcher_core.rules import past
from launcher_core.rules.again import ALONE
from launcher_core.rules.blame import Failed, had_raised, is_echo, seconds_text
from launcher_core.rules.native_error import native_error
from launcher_core.rules.python_error import PythonError, clean, no_program, tracebacks
from launcher_core.rules.ranks import ranks_text

TRACEBACK_LINES = 20
MESSAGE_LINES = 5
OTHERS = 8
FATES = 4
_WIDTH = 300
CRASH = "Fatal Python error"
APART = "it is the one that stands apart, as the watch says"
"""Why a worker is blamed that a watch named."""
_NUMBER = re.compile(r"\d+")
_PLACE = re.compile(r"\[[^]\s]*\.(?:cc|cpp|cu|h|hpp):\d+\] ")
"""Where in native code a message comes from: longer than the message, and of no use in one line."""

_SIGNALS: Mapping[str, str] = {
    "SIGABRT": "it aborted itself: a failed assertion or an uncaught C++ exception",
    "SIGALRM": "a timer of its own ran out",
    "SIGBUS": "bus error; often /dev/shm or a mapped file has no room",
    "SIGFPE": "arithmetic error in native code",
    "SIGHUP": "its terminal or session went away",
    "SIGILL": "illegal instruction; often built for another CPU",
    "SIGINT": "interrupted, as by Ctrl-C",
    "SIGKILL": "killed; often by the out-of-memory killer",
    "SIGPIPE": "it wrote to a pipe that nobody reads",
    "SIGQUIT": "asked to quit, as by Ctrl-\\",
    "SIGSEGV": "segmentation fault: native code touched memory that is not its own",
    "SIGSYS": "a system call that is not allowed here",
    "SIGTERM": "asked to stop, but not by this launcher",
    "SIGTRAP": "a breakpoint or a trap in native code",
    "SIGUSR1": "a signal that it does not handle",
    "SIGUSR2": "a signal that it does not handle",
    "SIGXCPU": "it used up its CPU time limit",
    "SIGXFSZ": "it exceeded its file size limit",
}

_EXIT_CODES: Mapping[int, str] = {
    2: "often a usage error: a wrong argument or a missing script",
    120: "Python could not flush its output at the end",
    126: "the command was found but cannot be executed",
    127: "the command, or a library that it needs, was not found",
}


class Case(NamedTuple):
    """A failed launch and the worker to blame for it: all that a report says, as text or as data.

    `root` is a position in `failures`, `reason` why it was chosen; `log_paths` maps local rank to the files that hold
    the worker's output; `report_lines` bounds the lines of its stderr, 0 leaves them out.
    """

    name: str
    failures: Sequence[Failed]
    root: int
    reason: str
    log_paths: Mapping[int, Sequence[str]]
    hostname: str
    restarts: int = 0
    max_restarts: int = 0
    report_lines: int = 20
    refusal: str = ""
    """Why the failure was not worth another start, where there was one left."""
    hung: str = ""
    """Why the workers were given up, where a watch did that."""
    stacks: Sequence[str] = ()
    """What those that still ran were doing, a line for each place, and the file that has all of it."""
    stuck: str = ""
    """Who did not end after SIGKILL, and what the kernel says of it."""
    foreign: bool = False
    """Whether the worker to blame is another node's: when it failed, by this node's clock, is not known."""
    alone: bool = True
    """Whether to tell of this node's other workers, which `nodes` does not."""
    nodes: Sequence[tuple[str, str]] = ()
    """Names of nodes, and what became of their workers, where more than one node was asked."""
    past: Sequence[Mapping[str, Any]] = ()
    """What ended the rounds before, as rules/past counts it."""
    again: str = ""
    """A command that runs the worker to blame once more."""
    world_size: int = 1
    files: tuple[str, str] | None = None
    """Where the stdout and the stderr of another node's worker are, on that node; "" for none."""

    @property
    def blamed(self) -> Failed:
        """The failure that explains the others."""
        return self.failures[self.root]


def told(case: Case) -> str:
    """The report as lines joined by newlines, none at the end."""
    root = case.blamed
    trace = _told(root.error) if root.error else ()
    parts = [
        [headline(case)],
        _facts(case),
        _block("traceback", _fitted(trace)),
        _block("end of its stderr", _stderr(root, case.report_lines)),
        _ends(case),
    ]
    text = "\n\n".join("\n".join(_short(line) for line in part) for part in parts if part)
    if case.again:  # of which nothing may be left out
        text = "\n".join([text, *_grid("repeat", [case.again + (ALONE if case.world_size > 1 else "")])])
    return text


def _facts(case: Case) -> list[str]:
    root, several = case.blamed, len(case.failures) > 1 or bool(case.nodes)
    return [
        *_grid("cause", causes(case)),
        *_grid("where", _where(root.error)),
        *_grid("worker", [_worker(root)]),
        *_grid("restarts", [_restarts(case.restarts, case.max_restarts, case.refusal), *past.told(case.past)]),
        *_grid("blamed", [case.reason] if several or is_echo(root) else []),
        *_grid("note", [root.problem] if root.problem else []),
    ]


def _ends(case: Case) -> list[str]:
    """What became of the others, and where to look."""
    root, host = case.blamed, f"{case.hostname}:" if case.nodes else ""
    others = [one for position, one in enumerate(case.failures) if position != case.root and case.alone]
    paths = [*case.log_paths.get(root.local_rank, ()), *filter(None, [root.error_file])]
    return [
        *_grid("also", _also(root, [one for one in others if not one.stopped], foreign=case.foreign)),
        *_stopped([one for one in others if one.stopped]),
        *_grid("stacks", case.stacks),
        *_grid("stuck", [f"{case.stuck}; it is left behind"] if case.stuck else []),
        *_grid("nodes", [f"{node}: {text}" for node, text in case.nodes]),
        *_grid("logs", [f"{host}{path}" for path in paths]),
    ]


def ending(exit_code: int) -> str:
    """An exit code in a word or two: "exit code 3", "SIGKILL"."""
    return f"exit code {exit_code}" if exit_code >= 0 else signal_name(-exit_code)


def headline(case: Case) -> str:
    """What happened, in one line."""
    if not case.hung:
        return title(case.name, case.blamed, case.hostname)
    if case.reason == APART:
        return f"{case.name} FAILED: rank {case.blamed.rank} on {case.hostname} hung"
    return f"{case.name} FAILED: its workers on {case.hostname} were given up"


def causes(case: Case) -> list[str]:
    """What it failed of: what a watch says, or what the worker died of."""
    return _first_lines(case.hung) if case.hung else cause(case.blamed)


def title(name: str, failed: Failed, hostname: str) -> str:
    """What happened to a worker, in one line."""
    if failed.stopped and not had_raised(failed):
        what = "was stopped by the launcher"
    elif failed.error and failed.error.type != CRASH:
        what = f"raised {failed.error.type}"
    elif failed.exit_code < 0:
        what = f"was ended by {signal_name(-failed.exit_code)}"
    else:
        what = f"ended with exit code {failed.exit_code}"
    return f"{name} FAILED: rank {failed.rank} on {hostname} {what}"


def cause(failed: Failed) -> list[str]:
    """What the worker died of: its exception, its signal, its message, or the hint of its exit code."""
    if failed.error and failed.error.type != CRASH:
        message = failed.error.message.strip()
        return _first_lines(f"{failed.error.type}: {message}" if message else failed.error.type)
    if failed.message:
        return _first_lines(failed.message)
    if failed.exit_code < 0:
        words = native_error(failed.stderr) if failed.exit_code == -signal.SIGABRT else ""
        return [_signal_hint(failed), *([words] if words else [])]
    return [f"exit code {failed.exit_code}: {_exit_hint(failed)}"]


def _signal_hint(failed: Failed) -> str:
    number = -failed.exit_code
    name, hint = signal_name(number), meaning(number, out_of_memory=failed.out_of_memory)
    if failed.stopped:
        hint = "from the launcher, which stopped the group"
    if hint:
        return f"{name} (signal {number}): {hint}"
    return f"{name} (signal {number})" if name.startswith("SIG") else name


def meaning(number: int, *, out_of_memory: bool = False) -> str:
    """What it means that this signal ended a worker; "" where that is not known."""
    if out_of_memory and number == signal.SIGKILL:
        return "out of memory: the kernel killed processes of this launch's control group to get some"
    return _SIGNALS.get(signal_name(number), "")


def _exit_hint(failed: Failed) -> str:
    """What the exit code means, as far as that is known, and what was printed that may have to do with it."""
    missing = no_program(failed.stderr) if failed.exit_code in (1, 2) else ""
    if missing:
        return f"Python found nothing to run: {missing}"
    if failed.seen is None:
        return _code_hint(failed.exit_code) or "it recorded and printed no Python exception"
    hint = _code_hint(failed.exit_code) or "an uncaught exception would be exit code 1"
    return f"{hint}; the last exception in its output, which it may have handled, is {failed.seen.summary()}"


def _code_hint(code: int) -> str:
    if code in _EXIT_CODES:
        return _EXIT_CODES[code]
    if code > 128 and (name := signal_name(code - 128)).startswith("SIG"):
        return f"how a shell reports that {name} ended a command"
    return ""


def signal_name(number: int) -> str:
    """The signal's name, also of real-time signals; "signal N" for a number that is none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        offset = number - signal.SIGRTMIN
        return f"SIGRTMIN+{offset}" if 0 < offset < 32 else f"signal {number}"


def _where(error: PythonError | None) -> list[str]:
    frame = error.frame if error else None
    if frame is None:
        return []
    inside = f" in {frame.function}" if frame.function else ""
    return [f"{frame.file}:{frame.line}{inside}", *([f"    {frame.source}"] if frame.source else [])]


def _worker(failed: Failed) -> str:
    return f"rank {failed.rank} (local rank {failed.local_rank}), pid {failed.pid}, {ending(failed.exit_code)}"


def _restarts(spent: int, allowed: int, refusal: str) -> str:
    """Why there was not another one, where that is known."""
    if not allowed:
        return "none: --max-restarts is 0"
    if refusal:
        return f"{spent} of {allowed} spent; {refusal}"
    if spent > allowed:
        return f"{spent} spent; no more than {allowed} within --restart-window"
    return f"{spent} of {allowed} spent{'' if spent < allowed else ': --max-restarts allows no more'}"


def _also(root: Failed, others: Sequence[Failed], *, foreign: bool) -> list[str]:
    """One line for each way in which others failed by themselves, the earliest first, at most OTHERS."""
    alike: dict[tuple[str, str], list[Failed]] = {}
    for other in sorted(others, key=lambda other: (other.at, other.rank)):
        alike.setdefault((ending(other.exit_code), _NUMBER.sub("0", said(other))), []).append(other)
    groups = list(alike.values())
    rows = [
        (
            ranks_text(one.rank for one in ones),
            ending(ones[0].exit_code),
            "" if foreign else _gap(root, ones),
            _all_said(root, ones),
        )
        for ones in groups[:OTHERS]
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    shown = [column for column in range(3) if widths[column]]
    lines = ["  ".join([*(row[at].ljust(widths[at]) for at in shown), row[3]]).rstrip() for row in rows]
    left = [one.rank for ones in groups[OTHERS:] for one in ones]
    return [*lines, f"and {ranks_text(left)}"] if left else lines


def _all_said(root: Failed, alike: Sequence[Failed]) -> str:
    """What failures that differ in numbers at most have said."""
    words = {said(one) for one in alike}
    if len(words) > 1:
        return _short(f"alike: {said(alike[0])}", 100)
    return "the same" if words == {said(root)} != {""} else _short(words.pop(), 100)


def _gap(root: Failed, others: Sequence[Failed]) -> str:
    """When the earliest of them failed, seen from the root."""
    gap = others[0].at - root.at
    return f"{seconds_text(abs(gap))} {'later' if gap >= 0 else 'earlier'}"


def said(failed: Failed) -> str:
    """The first line of what a worker said of its end."""
    text = failed.error.summary() if failed.error else failed.message.partition("\n")[0]
    return _PLACE.sub("", text, count=1)


def _stopped(others: Sequence[Failed]) -> list[str]:
    """One line about all the workers that the launcher stopped."""
    if not others:
        return []
    forced = [other.rank for other in others if other.exit_code == -signal.SIGKILL]
    killed = f" ({ranks_text(forced)} by SIGKILL)" if forced else ""
    return [f"  stopped by the launcher: {ranks_text(other.rank for other in others)}{killed}"]


def fates(failures: Sequence[Failed], succeeded: Iterable[int] = ()) -> str:
    """What became of a node's workers, in a line; never empty."""
    alike: dict[str, list[int]] = {}
    for one in sorted(failures, key=lambda one: (one.stopped, one.at, one.rank)):
        what = f"{ending(one.exit_code)}{': ' if said(one) else ''}{_short(said(one), 100)}"
        alike.setdefault("stopped by the launcher" if one.stopped else what, []).append(one.rank)
    told = [f"{ranks_text(ranks)} {what}" for what, ranks in alike.items()]
    if len(told) > FATES:
        told[FATES - 1 :] = [f"{len(told) - FATES + 1} more ways to end"]
    well = list(succeeded)
    return "; ".join([*told, *([f"{ranks_text(well)} succeeded"] if well else [])]) or "no worker ran"


def _stderr(failed: Failed, limit: int) -> list[str]:
    """The last lines of stderr, the traceback that is shown already replaced by a word."""
    if limit <= 0:
        return []
    lines = clean(failed.stderr)
    while lines and not lines[-1]:
        lines.pop()
    first = max(0, len(lines) - limit)
    shown: list[str] = []
    at = 0
    for block in tracebacks(lines):
        if failed.error and block.error and block.error[:2] == failed.error[:2] and block.end > first:
            shown += [*lines[max(at, first) : block.start], "(the traceback above)"]
            at = block.end
    shown += lines[max(at, first) :]
    return [] if all(not line or line == "(the traceback above)" for line in shown) else shown


def _first_lines(text: str) -> list[str]:
    lines = text.split("\n")
    if len(lines) <= MESSAGE_LINES:
        return lines
    return [*lines[:MESSAGE_LINES], f"... {len(lines) - MESSAGE_LINES} more lines"]


def _told(error: PythonError) -> list[str]:
    """The printed traceback with no more of a long message than the cause has: its frames are what is wanted."""
    lines = list(error.lines)
    rest = error.message.split("\n")[MESSAGE_LINES:]
    if rest and lines[-len(rest) :] == rest:
        lines[-len(rest) :] = [f"... {len(rest)} more lines"]
    return lines


def _fitted(lines: Sequence[str]) -> list[str]:
    """The traceback in at most TRACEBACK_LINES: first its markers go, then its middle."""
    if len(lines) <= TRACEBACK_LINES:
        return list(lines)
    plain = [line for line in lines if line.strip(" |~^") or not line.strip()]
    if len(plain) <= TRACEBACK_LINES:
        return plain
    kept = plain[2 - TRACEBACK_LINES :]
    while len(kept) > TRACEBACK_LINES - 6 and not kept[0].lstrip(" |").startswith("File "):
        del kept[0]  # a source line without its place says nothing
    return [plain[0], f"  ... {len(plain) - 1 - len(kept)} lines ...", *kept]


def _grid(label: str, lines: Sequence[str]) -> list[str]:
    """The lines in the second column, the label before the first."""
    return [f"  {label if number == 0 else '':8} {line}".rstrip() for number, line in enumerate(lines)]


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return [f"  {title}", *(f"    {line}".rstrip() for line in lines)] if lines else []


def _short(text: str, width: int = _WIDTH) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
