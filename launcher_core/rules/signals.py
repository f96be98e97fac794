"""Names of signals: which the user asked to have handled."""

from __future__ import annotations

import signal

from launcher_core.errors import UsageError

_NEVER = ("SIGKILL", "SIGSTOP")


def signal_numbers(names: str) -> tuple[int, ...]:
    """The signals of a comma-separated list, case-insensitive, with or without SIG. Raises UsageError."""
    return tuple(_number(name.strip(), names) for name in names.split(",") if name.strip())


def _number(name: str, names: str) -> int:
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    if full in _NEVER:
        raise UsageError(f"--signals-to-handle={names!r}: {full} cannot be handled by any program; leave it out")
    known = signal.Signals.__members__
    if full in known:
        return int(known[full])
    from difflib import get_close_matches

    close = get_close_matches(full, list(known), n=1)
    hint = f"did you mean {close[0]}?" if close else "write names such as SIGTERM,SIGINT"
    raise UsageError(f"--signals-to-handle={names!r}: there is no signal {name!r}; {hint}")
