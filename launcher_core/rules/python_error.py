"""Finds the Python exception in what a dying process printed.

Workers print tracebacks with rank prefixes, in colour, behind progress bars, chained, in groups, and among
the noise of their own shutdown.  This takes the text as it is, and refuses to guess: text without a complete
traceback has no exception in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

HEADER = "Traceback (most recent call last):"
_GROUP = "Exception Group "
_FATAL = "Fatal Python error: "
CAUSED = "The above exception was the direct cause of the following exception:"
DURING = "During handling of the above exception, another exception occurred:"
_MAX_NOISE = 20
_MAX_MESSAGE = 60

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_FRAME = re.compile(r'  File "(.*)", line (\d+)(?:, in (.*))?$')
_HEADLESS = re.compile(r'((?:\[[^\]]*\]:? ?)?)  File ".*", line \d+(?:, in .*)?$')
_FATAL_FRAME = re.compile(r'  File "(.*)", line (\d+|\?\?\?) in (.*)$')
_EXCEPTION = re.compile(r"([^\W\d][\w.<>]*(?:\([\w.]+\))?)(?::(?: (.*))?)?$")
_PART = re.compile(r"(?:\+-|  )\+-+ (?:\d+|\.\.\.) -+$")
_PARTS_END = re.compile(r"  \+-+$")
_LEVELS = frozenset(["DEBUG", "INFO", "NOTE", "NOTICE", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"])
_LOG_LINE = re.compile(
    r"\[?\d{4}-\d\d-\d\d[ T]|\[?[IWEFC]\d{4} \d\d:|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"
    r"|/.*:\d+: \w*Warning: |terminate called|Extension modules: |srun: "
)
# What Python prints about exceptions that did not end the process.
_ASIDE = (
    "Exception ignored ",
    "Exception in thread ",
    "Exception in callback ",
    "Task exception was never retrieved",
    "Future exception was never retrieved",
    "--- Logging error ---",
)
# site-packages and their like, the standard library, frozen modules, and our own wrapper of the entry point.
LIBRARY = re.compile(
    r"/(?:site|dist)-packages/|/lib(?:64)?/python\d+\.\d+t?/|/python\d+\.zip/|^<frozen "
    r"|/launcher_core/worker/"
)


# What Python says, on one line, when it has found nothing to run.
_NO_PROGRAM = re.compile(
    r"[^:]+: ((?:No module named |Error while finding module specification for |can't open file "
    r"|can't find '__main__' module in ).*)$"
)


class Frame(NamedTuple):
    """One line of a stack. `function` is empty where a syntax error is pointed at; `line` 0 is unknown."""

    file: str
    line: int
    function: str
    source: str = ""


class PythonError(NamedTuple):
    """An exception as it was printed, and the last place in the user's own code on its way.

    `lines` is the printed traceback with all it was chained to, without prefixes and colours.  A crash that
    faulthandler reported has the type "Fatal Python error".
    """

    type: str
    message: str
    frame: Frame | None = None
    lines: tuple[str, ...] = ()

    def summary(self) -> str:
        """Type and first line of the message."""
        first = self.message.lstrip().partition("\n")[0].rstrip()
        return f"{self.type}: {first}" if first else self.type


class Block(NamedTuple):
    """Lines `start` to `end` (not included), and the exception in them; None when they are incomplete."""

    start: int
    end: int
    error: PythonError | None
    aside: bool = False


def clean(text: str) -> list[str]:
    """The lines in plain text: no colours, no control characters, progress bars in their last state."""
    lines = _ESCAPE.sub("", text).split("\n")
    return [_CONTROL.sub("", line.rstrip("\r").rpartition("\r")[2]).rstrip() for line in lines]


def no_program(text: str) -> str:
    """What Python said, last of all, of a script or a module that it did not find; "" when it said no such thing."""
    lines = [line for line in clean(text) if line.strip()]
    match = _NO_PROGRAM.match(lines[-1]) if lines else None
    return match[1] if match else ""


def find_exception(text: str) -> PythonError | None:
    """The last complete traceback in the text, or None.

    Tracebacks that did not end the process (of a thread, of a finalizer) count only when there is no other.
    """
    try:
        blocks = tracebacks(clean(text))
    except RecursionError:  # groups nested deeper than Python would print them
        return None
    for block in reversed(blocks):
        if not block.aside:
            return block.error
    return blocks[-1].error if blocks else None


def tracebacks(lines: Sequence[str]) -> list[Block]:
    """All complete tracebacks in clean lines, in their order; each one that continues another contains it."""
    found: list[Block] = []
    at = 0
    while at < len(lines):
        block = _block_at(lines, at)
        if block is None:
            at += 1
            continue
        if block.error is not None:
            found.append(_joined(lines, found[-1] if found else None, block))
        at = block.end
    return found


def _block_at(lines: Sequence[str], at: int) -> Block | None:
    """The traceback that begins in this line; None when none does."""
    line = lines[at]
    if line.endswith(HEADER):
        return _traceback(lines, at, at + 1, _prefix(lines, at))
    if _FATAL in line:
        return _fatal(lines, at, line.index(_FATAL))
    headless = _HEADLESS.match(line)
    return _traceback(lines, at, at, headless[1]) if headless else None


def _prefix(lines: Sequence[str], at: int) -> str:
    """What every further line of the traceback with this header begins with, such as "[rank0]: "."""
    before = lines[at][: -len(HEADER)]
    if before.endswith(_GROUP):
        before = before[: -len(_GROUP)]
        if before.endswith("+ "):
            before = before[:-2] + "| "
    following = lines[at + 1] if at + 1 < len(lines) else ""
    return before if following.startswith(before) else ""


def _without(prefix: str, line: str) -> str | None:
    """The line without the prefix; None when it has another. An empty line may go without."""
    if line.startswith(prefix):
        return line[len(prefix) :]
    return None if line.strip() else ""


def _traceback(lines: Sequence[str], start: int, at: int, prefix: str) -> Block:
    """The traceback whose frames begin at line `at`."""
    frames: list[Frame] = []
    noise = 0
    while at < len(lines) and noise < _MAX_NOISE:
        text = _without(prefix, lines[at])
        if lines[at].endswith(HEADER):
            break
        if text is None:
            noise += 1
        elif match := _FRAME.match(text):
            source = _without(prefix, lines[at + 1]) if at + 1 < len(lines) else ""
            frames.append(Frame(match[1], int(match[2]), match[3] or "", _source(source)))
        elif text and not text.startswith(" "):
            error = _exception(lines, at, prefix, frames)
            if error.error is not None:
                return Block(start, error.end, _printed(lines, start, prefix, error))
            noise += 1
        at += 1
    return Block(start, max(at, start + 1), None)


def _source(line: str | None) -> str:
    return line.strip() if line and line.startswith("    ") else ""


def _printed(lines: Sequence[str], start: int, prefix: str, block: Block) -> PythonError | None:
    """The block's exception with its printed lines; the art around exception groups is kept."""
    if block.error is None:
        return None
    if prefix.endswith("| "):
        return block.error._replace(lines=tuple(lines[start : block.end]))
    rest = tuple(_without(prefix, line) or "" for line in lines[start : block.end])
    head = (HEADER,) if lines[start].endswith(HEADER) and _GROUP not in lines[start] else rest[:1]
    return block.error._replace(lines=head + rest[1:])


def _exception(lines: Sequence[str], at: int, prefix: str, frames: Sequence[Frame]) -> Block:
    """The exception that this line names, with its message and the parts of a group."""
    match = _EXCEPTION.match(_without(prefix, lines[at]) or "")
    if match is None or not _is_type(match[1]):
        return Block(at, at + 1, None)
    message = [match[2] or ""]
    end = at + 1
    while end < len(lines) and len(message) < _MAX_MESSAGE:
        text = _without(prefix, lines[end])
        if text is None or _ends_message(text):
            break
        message.append(text)
        end += 1
    name = match[1].removeprefix("__main__.").rpartition("<locals>.")[2]
    error = PythonError(name, "\n".join(message).rstrip(), _own_code(frames))
    end = at + 1 + len("\n".join(message).rstrip().split("\n")) - 1
    parts, after = _group_parts(lines, end, prefix.removesuffix("| "))
    return Block(at, after, _with_parts(error, parts)) if parts else Block(at, end, error)


def _is_type(name: str) -> bool:
    """Whether a word at the start of a line is the name of an exception rather than of a log level."""
    return name not in _LEVELS and ("." in name or name[0].isupper())


def _ends_message(text: str) -> bool:
    return (
        text.endswith((HEADER, CAUSED, DURING))
        or text == '"""'
        or text.startswith((*_ASIDE, _FATAL))
        or _LOG_LINE.match(text) is not None
        or _PART.match(text) is not None
    )


def _own_code(frames: Sequence[Frame]) -> Frame | None:
    """The last frame in the user's own code; the last of all when there is none."""
    own = [frame for frame in frames if not LIBRARY.search(frame.file)]
    return own[-1] if own else frames[-1] if frames else None


def _group_parts(lines: Sequence[str], at: int, base: str) -> tuple[list[PythonError], int]:
    """The exceptions inside a group that are printed from line `at` on, and the line after them."""
    parts: list[list[str]] = []
    while at < len(lines) and lines[at].startswith(base):
        rest = lines[at][len(base) :]
        if _PART.match(rest):
            parts.append([])
        elif parts and _PARTS_END.match(rest):
            at += 1
            break
        elif parts and rest.startswith("  "):
            parts[-1].append(rest[4:] if rest.startswith("  | ") else rest[2:])
        else:
            break
        at += 1
    errors = [find_exception("\n".join(part)) or _exception(part, 0, "", ()).error for part in parts if part]
    return [error for error in errors if error is not None], at


def _with_parts(group: PythonError, parts: Sequence[PythonError]) -> PythonError:
    """A group of one as that one; a larger group with its parts named, and the place of the first."""
    frame = parts[0].frame or group.frame
    if len(parts) == 1:
        return parts[0]._replace(frame=frame)
    message = "\n".join([group.message, *(part.summary() for part in parts)])
    return group._replace(message=message, frame=frame)


def _fatal(lines: Sequence[str], start: int, column: int) -> Block:
    """The crash that faulthandler reported: the stack of the thread that crashed, innermost frame first."""
    prefix = lines[start][:column]
    end = start + 1
    frames: list[Frame] = []
    current = False
    while end < len(lines):
        text = _without(prefix, lines[end])
        if text is None or (frames and current and not text):
            break
        if text.endswith("(most recent call first):"):
            current = text.startswith("Current thread")
        elif match := _FATAL_FRAME.match(text):
            if current:
                frames.insert(0, Frame(match[1], int(match[2]) if match[2].isdigit() else 0, match[3]))
        elif text and not text.startswith(" "):
            break
        end += 1
    message = lines[start][column + len(_FATAL) :]
    printed = tuple(line.removeprefix(prefix) for line in lines[start:end])
    error = PythonError(_FATAL[:-2], message, _own_code(frames), printed)
    # A crash in no Python code at all is most often the teardown after the exception that is printed above.
    return Block(start, end, error, aside=not frames)


def _joined(lines: Sequence[str], before: Block | None, block: Block) -> Block:
    """The block joined to the one that it continues, and marked when it did not end the process."""
    gap = lines[before.end if before else 0 : block.start]
    told = [line for line in gap if line.strip()][-3:]
    if block.error is None or before is None or before.error is None:
        return block._replace(aside=block.aside or any(line.startswith(_ASIDE) for line in told))
    if told and told[-1].endswith((CAUSED, DURING)):
        caused = told[-1].endswith(CAUSED)
        between = ("", CAUSED if caused else DURING, "")
        error = block.error._replace(lines=before.error.lines + between + block.error.lines)
        if caused and before.error[:2] == block.error[:2]:
            # The same exception brought over from another process: where it was raised says more.
            error = error._replace(frame=before.error.frame)
        return Block(before.start, block.end, error, before.aside)
    return block._replace(aside=block.aside or any(line.startswith(_ASIDE) for line in told))
