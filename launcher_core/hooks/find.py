"""Where plugins are: one name of one group at a time, and lists for people. Imports a plugin only in `load`.

A name is first looked for by the quick look of `scan`, which costs about a millisecond. Whatever that does not
settle (no such name, several, an unusual path) goes to stevedore, and so do listings; its on-disk cache is never
used, because it goes stale.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from launcher_core.errors import PluginError
from launcher_core.hooks.scan import Found, canonical, is_plugin, made, origin_of, plugins_in, scan

FLAGS = {
    "launcher.rendezvous": "--rdzv-backend",
    "launcher.stores": "--rdzv-conf store",
    "launcher.logs_specs": "--logs-specs",
    "launcher.start_methods": "--start-method",
    "launcher.event_recorders": "--event-log-handler",
    "launcher.policies": "--policy",
}
"""Entry-point group -> the flag that chooses from it."""

NOT_OURS = "launcher.policies"
"""The group that the launcher's own distribution has no plugin of."""


class Installed:
    """What is installed, read when it is first asked about, and not again: for the plugins of one launch."""

    def __init__(self) -> None:
        self._quick: list[Found] | None = None
        self._looked = False

    def find(self, group: str, name: str) -> Found:
        """The one plugin of this group and name. Raises PluginError when there is none, or more than one."""
        if not self._looked:
            self._quick, self._looked = scan(sys.path), True
        quick = _matches(self._quick or (), group, name)
        if len(quick) == 1:
            return quick[0]
        installed = list_plugins(group)
        matches = _matches(installed, group, name)
        if len(matches) == 1:
            return matches[0]
        raise PluginError(_ambiguous(matches) if matches else _unknown(group, name, installed))


def find(group: str, name: str) -> Found:
    """The one plugin of this group and name. Raises PluginError when there is none, or more than one."""
    return Installed().find(group, name)


def load(found: Found) -> Any:
    """The plugin itself, imported now; a class is called. Raises PluginError naming the distribution and the cause."""
    from importlib import import_module

    module_name, colon, attribute = found.value.partition(":")
    names = [*module_name.split("."), *(attribute.split(".") if colon else ())]
    if not all(name.isidentifier() for name in names):
        raise PluginError(
            f"{whose(found)} is declared as {found.value!r}, which is neither MODULE nor MODULE:ATTRIBUTE"
        )
    try:
        plugin: Any = import_module(module_name)
        for name in names[module_name.count(".") + 1 :]:
            plugin = _attribute(found, plugin, name)
        return plugin() if isinstance(plugin, type) else plugin
    except PluginError:
        raise
    except ModuleNotFoundError as error:
        raise PluginError(missing(found, error)) from error
    except (Exception, SystemExit) as error:
        where = f" ({place})" if (place := _place(found, error)) else ""
        raise PluginError(f"{whose(found)} failed to import{where}: {described(error)}") from error


def list_plugins(*groups: str) -> list[Found]:
    """Every installed plugin of the groups, by group and name; none is imported. Found by stevedore."""
    from stevedore import NamedExtensionManager

    everything = _everything()

    class Fresh(NamedExtensionManager):  # type: ignore[type-arg]  # generic only in its newer versions
        def list_entry_points(self) -> Any:
            return [found for found in everything if found.group == self.namespace]

    result: list[Found] = []
    for group in groups:
        result += sorted(Fresh(group, names=[], invoke_on_load=False).list_entry_points())
    return result


def file_of(found: Found) -> str:
    """The file that the plugin would be imported from, "" when that cannot be said without importing."""
    return _file(found.value.partition(":")[0])


# --- sentences --------------------------------------------------------------------------------------------


def asked(found: Found) -> str:
    """The flag as the user gave it."""
    return f"{FLAGS.get(found.group, found.group)}={found.name}"


def whose(found: Found) -> str:
    """How an error begins that is about one plugin: the flag, and who made what it names."""
    return f"{asked(found)}: the plugin of {found.distribution} {found.version}"


def missing(found: Found, error: ModuleNotFoundError) -> str:
    """What to say about a plugin that lacks a module."""
    name = error.name or ""
    package, own = name.partition(".")[0], found.value.partition(":")[0].partition(".")[0]
    if not package:
        return f"{whose(found)} failed to import: {described(error)}"
    if package == own:
        return f"{whose(found)} cannot be imported: its module {name} does not exist; install it anew"
    if package in ("launcher_core", "launcher_plugins"):
        return f"{whose(found)} needs {name}, which this version of the launcher does not have; upgrade one of them"
    return f"{whose(found)} needs {name}, which is not installed: pip install {package}"


def described(error: BaseException) -> str:
    """An error's class and text on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _ambiguous(matches: Sequence[Found]) -> str:
    makers = " and ".join(f"{found.distribution} {found.version}" for found in matches)
    return (
        f"{asked(matches[0])}: {makers} install plugins of the same name ({matches[0].group}); "
        "uninstall all but one of them"
    )


def _unknown(group: str, name: str, installed: Sequence[Found]) -> str:
    text = f"{FLAGS.get(group, group)}={name}: no plugin of that name is installed ({group});"
    if not installed:
        return f"{text} none is" + ("" if group == NOT_OURS else ": pip install launcher-core brings the usual ones")
    from difflib import get_close_matches

    close = get_close_matches(name, [found.name for found in installed], n=1)
    hint = f" did you mean {close[0]}?" if close else ""
    return f"{text}{hint} installed: {', '.join(map(str, installed))}"


# --- looking ----------------------------------------------------------------------------------------------


def _matches(plugins: Sequence[Found], group: str, name: str) -> list[Found]:
    return list(dict.fromkeys(found for found in plugins if (found.group, found.name) == (group, name)))


def _everything() -> list[Found]:
    """Every plugin that importlib.metadata knows of. A file that it cannot read hides no other distribution's."""
    from importlib import metadata

    try:
        points: Any = metadata.entry_points()
        ours = [point for group in FLAGS for point in points.select(group=group) if is_plugin(group, point.name)]
        return [made(point.group, point.name, point.value, _origin(point.dist)) for point in ours]
    except Exception:  # each version of importlib.metadata raises its own about a line that is no entry
        return _everything_readable(metadata.distributions())


def _everything_readable(distributions: Any) -> list[Found]:
    found: list[Found] = []
    seen: set[str] = set()
    for distribution in distributions:
        name = canonical(_origin(distribution)[0])
        if name in seen:
            continue
        if name != "?":
            seen.add(name)
        read = _reader(distribution)
        found += plugins_in(read("entry_points.txt") or "", read)
    return found


def _origin(distribution: Any) -> tuple[str, str]:
    return origin_of(_reader(distribution)) if distribution is not None else ("?", "?")


def _reader(distribution: Any) -> Callable[[str], str | None]:
    def read(name: str) -> str | None:
        try:
            text: str | None = distribution.read_text(name)
            return text
        except (OSError, ValueError):
            return None

    return read


def _attribute(found: Found, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise PluginError(
            f"{whose(found)} is declared as {found.value}, but there is no {name} in it; install another version"
        ) from error


def _place(found: Found, error: BaseException) -> str:
    """FILE:LINE of the plugin's own code that raised; the file alone where that is not known."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own, place = found.value.partition(":")[0].partition(".")[0], ""
    trace = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if str(frame.f_globals.get("__name__")).partition(".")[0] == own:
            place = f"{frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place or file_of(found)


def _file(module_name: str) -> str:
    """The file of a module, found by asking the import system about its parents one by one; nothing is imported."""
    from importlib.machinery import PathFinder

    path: Any = None
    origin = ""
    for part in module_name.split("."):
        try:
            # by the last part of its name: a namespace package would ask for its parent in sys.modules
            spec = _spec(part) if path is None else PathFinder.find_spec(part, path)
            if spec is None:
                return ""
            origin, path = spec.origin or "", list(spec.submodule_search_locations or ())
        except Exception:  # a finder of somebody's own may raise anything
            return ""
    return origin


def _spec(name: str) -> Any:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(name, None, None) if find_spec else None
        if spec is not None:
            return spec
    return None
