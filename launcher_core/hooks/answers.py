"""What a hook may answer: checked as soon as it has answered, before the answer is used by those who trust it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from launcher_core.hooks.ports import LogsSpecs, Recorder, Starter, Store, Watch

SHAPES: Mapping[str, type] = {
    "launcher_make_store": Store,
    "launcher_make_logs_specs": LogsSpecs,
    "launcher_make_starter": Starter,
    "launcher_make_recorder": Recorder,
    "launcher_make_watch": Watch,
}
"""Hook -> the Protocol that what it returns must satisfy. A rendezvous has several, told apart by the launch."""

OPTIONAL = ("launcher_make_watch",)
"""Of these, the hooks that may return None."""


def fault_in(hook: str, answer: Any) -> str:
    """What is wrong with the answer, to follow "the plugin of ..."; "" when nothing is."""
    if hook in SHAPES:
        return "" if answer is None and hook in OPTIONAL else _misshapen(hook, answer)
    check = _CHECKS.get(hook)
    wanted = check(answer) if check is not None and answer is not None else ""
    return f"returned {answer!r} from {hook}, which has to be {wanted}" if wanted else ""


def _misshapen(hook: str, answer: Any) -> str:
    shape = SHAPES[hook]
    methods = [name for name, member in vars(shape).items() if callable(member) and not name.startswith("_")]
    lacking = [name for name in methods if not callable(getattr(answer, name, None))]
    if not lacking:
        return ""
    what = "nothing" if answer is None else type(answer).__name__
    return f"returned {what} from {hook}, which is no {shape.__name__}: it has no {' and no '.join(lacking)}"


def _verdict(answer: Any) -> str:
    return "" if answer in ("restart", "stop") else "'restart', 'stop' or None"


def _reason(answer: Any) -> str:
    return "" if isinstance(answer, str) else "a text that says why, or None"


def _variables(answer: Any) -> str:
    texts = isinstance(answer, Mapping) and all(isinstance(one, str) for pair in answer.items() for one in pair)
    return "" if texts else "names with values, all of them texts"


_CHECKS: Mapping[str, Callable[[Any], str]] = {
    "launcher_admit": _reason,
    "launcher_judge": _verdict,
    "launcher_worker_env": _variables,
}
