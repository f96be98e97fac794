"""Names of signals: which the user asked to have handled, and which to have passed on to the workers."""

from __future__ import annotations

import signal

from launcher_core.errors import UsageError

HANDLE, FORWARD, PREEMPT = "--signals-to-handle", "--forward-signals", "--preempt-signal"

_NEVER = {
    "SIGKILL": "cannot be handled by any program",
    "SIGSTOP": "cannot be handled by any program",
    "SIGCHLD": "comes whenever a process ends, and would stop the job when its first worker is done",
}


def signal_numbers(names: str, flag: str = HANDLE) -> tuple[int, ...]:
    """The signals of a comma-separated list, case-insensitive, with or without SIG. Raises UsageError."""
    return tuple(_number(name.strip(), names, flag) for name in names.split(",") if name.strip())


def forwarded_numbers(names: str, handled: str) -> tuple[int, ...]:
    """The signals of --forward-signals. Raises UsageError, also for one of `handled`, which ends the job."""
    numbers = signal_numbers(names, FORWARD)
    _in_one_only(numbers, f"{FORWARD}={names!r}", HANDLE, handled, "on which the job ends")
    return numbers


def preempt_numbers(names: str, handled: str, forwarded: str) -> tuple[int, ...]:
    """The signals of --preempt-signal. Raises UsageError, also for one that has another meaning already."""
    numbers = signal_numbers(names, PREEMPT)
    _in_one_only(numbers, f"{PREEMPT}={names!r}", HANDLE, handled, "on which the job ends")
    _in_one_only(numbers, f"{PREEMPT}={names!r}", FORWARD, forwarded, "which go on to the workers")
    return numbers


def _in_one_only(numbers: tuple[int, ...], said: str, flag: str, others: str, which: str) -> None:
    both = sorted({*numbers} & {*signal_numbers(others, flag)}) if numbers else []
    if both:
        name = signal.Signals(both[0]).name
        raise UsageError(f"{said}: {name} is one of {flag}={others}, {which}; name it in one of the two only")


def _number(name: str, names: str, flag: str) -> int:
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    known = signal.Signals.__members__.get(full)
    if known is not None and known.name not in _NEVER:
        return int(known)
    if known is not None:
        raise UsageError(f"{flag}={names!r}: {full} {_NEVER[known.name]}; leave it out")
    close = _meant(name, full)
    hint = f"did you mean {close}?" if close else "write names such as SIGTERM,SIGINT"
    raise UsageError(f"{flag}={names!r}: there is no signal {name!r}; {hint}")


def _meant(name: str, full: str) -> str:
    """The signal of that number, or whose name is most like this one; "" when there is none."""
    numbers = {str(int(one)): one.name for one in signal.Signals}
    if name.isdecimal():
        return numbers.get(name, "")
    from difflib import get_close_matches

    return next(iter(get_close_matches(full, numbers.values(), n=1)), "")
