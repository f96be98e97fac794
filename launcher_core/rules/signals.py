"""Names of signals: which the user asked to have handled."""

from __future__ import annotations

import signal

from launcher_core.errors import UsageError

_NEVER = {
    "SIGKILL": "cannot be handled by any program",
    "SIGSTOP": "cannot be handled by any program",
    "SIGCHLD": "comes whenever a process ends, and would stop the job when its first worker is done",
}


def signal_numbers(names: str) -> tuple[int, ...]:
    """The signals of a comma-separated list, case-insensitive, with or without SIG. Raises UsageError."""
    return tuple(_number(name.strip(), names) for name in names.split(",") if name.strip())


def _number(name: str, names: str) -> int:
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    known = signal.Signals.__members__.get(full)
    if known is not None and known.name not in _NEVER:
        return int(known)
    if known is not None:
        raise UsageError(f"--signals-to-handle={names!r}: {full} {_NEVER[known.name]}; leave it out")
    close = _meant(name, full)
    hint = f"did you mean {close}?" if close else "write names such as SIGTERM,SIGINT"
    raise UsageError(f"--signals-to-handle={names!r}: there is no signal {name!r}; {hint}")


def _meant(name: str, full: str) -> str:
    """The signal of that number, or whose name is most like this one; "" when there is none."""
    numbers = {str(int(one)): one.name for one in signal.Signals}
    if name.isdecimal():
        return numbers.get(name, "")
    from difflib import get_close_matches

    return next(iter(get_close_matches(full, numbers.values(), n=1)), "")
