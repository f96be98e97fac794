"""Says how a plugin fails to be one: which hook it lacks, misspells or takes the wrong arguments of.

Imported only when that has happened.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from launcher_core.hooks import specs


def misfit(error: Exception, implemented: Mapping[str, Any]) -> str:
    """Why pluggy refused a plugin; `implemented` are its implementations by the name of the hook."""
    for name, function in implemented.items():
        spec = getattr(specs, name, None)
        if spec is None:
            return f"implements {name}, which is no hook; {_hint(name)}"
        strange = [one for one in _arguments(function) if one not in _arguments(spec)]
        if strange:
            return f"takes {' and '.join(map(repr, strange))} in {name}, which has no such argument: {signature(name)}"
    return f"cannot be registered: {type(error).__name__}: {' '.join(str(error).split())}"


def lacks(plugin: Any, wanted: Sequence[str], implemented: Mapping[str, Any]) -> str:
    """What a plugin lacks that implements none of the `wanted` hooks."""
    what = f"does not implement {signature(wanted[0])}" if len(wanted) == 1 else "implements no policy hook"
    unmarked = [name for name in wanted if callable(getattr(plugin, name, None))]
    if unmarked:
        return f"{what}: its {unmarked[0]} is not marked with @launcher_core.hookimpl"
    misnamed = [name for name in dir(plugin) if not name.startswith(specs.PREFIX) and _is_marked(plugin, name)]
    if misnamed:
        return f"{what}: its {misnamed[0]} is marked as a hook, but only names that begin with {specs.PREFIX} are hooks"
    has = f"it implements {', '.join(implemented)}" if implemented else "it implements no hook at all"
    choice = "" if len(wanted) == 1 else f"; there are {', '.join(wanted)}"
    return f"{what}; {has}{choice}"


def signature(hook: str) -> str:
    """The hook as its specification has it, on one line; annotations without the quotes that inspect shows."""
    return f"{hook}{inspect.signature(getattr(specs, hook))}".replace("'", "")


def _hint(name: str) -> str:
    """What a name that is no hook may stand for; compared without the beginning that all hooks share."""
    endings = {hook.removeprefix(specs.PREFIX): hook for hook in _hooks()}
    close = get_close_matches(name.removeprefix(specs.PREFIX), list(endings), n=1)
    return f"did you mean {signature(endings[close[0]])}?" if close else f"there are {', '.join(endings.values())}"


def _is_marked(plugin: Any, name: str) -> bool:
    try:
        return isinstance(getattr(getattr(plugin, name), f"{specs.PROJECT}_impl", None), dict)
    except Exception:  # an attribute of somebody else's may raise anything
        return False


def _arguments(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def _hooks() -> list[str]:
    return [name for name in vars(specs) if name.startswith(specs.PREFIX)]
