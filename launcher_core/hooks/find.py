"""Where plugins are: one name of one group at a time, and lists for people. Imports a plugin only in `load`.

A name is first looked for by reading the entry_points.txt files along sys.path, which costs about a
millisecond.  Whatever that does not settle (no such name, several, an unusual importer) goes to stevedore, and so
do listings; its on-disk cache is never used, because it goes stale.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from launcher_core.errors import PluginError

FLAGS = {
    "launcher.rendezvous": "--rdzv-backend",
    "launcher.stores": "--rdzv-conf store",
    "launcher.logs_specs": "--logs-specs",
    "launcher.start_methods": "--start-method",
    "launcher.event_recorders": "--event-log-handler",
    "launcher.policies": "--policy",
}
"""Entry-point group -> the flag that chooses from it."""


class Found(NamedTuple):
    """One installed plugin, not imported yet."""

    group: str
    name: str
    value: str
    """`module` or `module:attribute`."""
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"


def find(group: str, name: str) -> Found:
    """The one plugin of this group and name. Raises PluginError when there is none, or more than one."""
    quick = [found for found in _scan(group) if found.name == name]
    if len(quick) == 1:
        return quick[0]
    installed = list_plugins(group)
    matches = [found for found in installed if found.name == name]
    if len(matches) == 1:
        return matches[0]
    asked = f"{FLAGS.get(group, group)}={name}"
    if matches:
        both = " and ".join(f"{found.distribution} {found.version}" for found in matches)
        raise PluginError(f"{asked}: {both} both install a plugin of that name ({group}); uninstall one of them")
    raise PluginError(f"{asked}: no plugin of that name is installed ({group}){_suggestion(group, name, installed)}")


def load(found: Found) -> Any:
    """The plugin itself, imported now. Raises PluginError naming the distribution and the cause."""
    from importlib import import_module

    module_name, _, attribute = found.value.partition(":")
    where = f"{FLAGS.get(found.group, found.group)}={found.name}: the plugin of {found.distribution} {found.version}"
    try:
        plugin: Any = import_module(module_name)
        for part in filter(None, attribute.split(".")):
            plugin = getattr(plugin, part)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise PluginError(f"{where} cannot be imported: its module {missing} does not exist") from error
        package = missing.partition(".")[0]
        raise PluginError(f"{where} needs {missing}, which is not installed: pip install {package}") from error
    except (Exception, SystemExit) as error:
        file = _file(module_name)
        raise PluginError(f"{where} failed to import ({file}): {type(error).__name__}: {error}") from error
    return plugin


def list_plugins(group: str) -> list[Found]:
    """Every installed plugin of the group, sorted by name; none is imported. Found by stevedore."""
    from importlib import metadata

    from stevedore import NamedExtensionManager

    class Fresh(NamedExtensionManager):  # type: ignore[misc]
        def list_entry_points(self) -> list[metadata.EntryPoint]:
            return list(metadata.entry_points(group=self.namespace))

    points = Fresh(group, names=[], invoke_on_load=False).list_entry_points()
    return sorted(Found(group, point.name, point.value, *_origin(point)) for point in points)


def file_of(found: Found) -> str:
    """The file that the plugin would be imported from, "" when that cannot be said without importing."""
    return _file(found.value.partition(":")[0])


def _origin(point: Any) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist is not None else ("?", "?")


def _file(module_name: str) -> str:
    """The file of a module whose parents may be imported but which itself is not."""
    from importlib.machinery import PathFinder

    path: Any = None
    spec = None
    parts = module_name.split(".")
    for depth in range(len(parts)):
        full = ".".join(parts[: depth + 1])
        spec = _spec(full, path) if depth == 0 else PathFinder.find_spec(full, path)
        if spec is None:
            return ""
        path = spec.submodule_search_locations
    return (spec.origin or "") if spec else ""


def _spec(name: str, path: Any) -> Any:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        spec = find_spec(name, path, None) if find_spec else None
        if spec is not None:
            return spec
    return None


def _suggestion(group: str, name: str, installed: list[Found]) -> str:
    if not installed:
        ours = group in FLAGS and group != "launcher.policies"
        return "; none is" + (": pip install launcher-core brings the usual ones" if ours else "")
    from difflib import get_close_matches

    close = get_close_matches(name, [found.name for found in installed], n=1)
    hint = f"; did you mean {close[0]}?" if close else ";"
    return f"{hint} installed: {', '.join(map(str, installed))}"


def _scan(group: str) -> Iterator[Found]:
    seen: set[str] = set()
    header = f"[{group}]"
    for folder in sys.path:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or ".") if _is_metadata(entry.name))
        except OSError:
            continue
        for entry in names:
            stem, _, _ = entry.rpartition(".")
            distribution, _, version = stem.partition("-")
            key = distribution.lower().replace("-", "_").replace(".", "_")
            if key in seen:
                continue
            seen.add(key)
            yield from _read(os.path.join(folder, entry), group, header, distribution, version)


def _is_metadata(name: str) -> bool:
    return name.endswith((".dist-info", ".egg-info"))


def _read(folder: str, group: str, header: str, distribution: str, version: str) -> Iterator[Found]:
    try:
        with open(os.path.join(folder, "entry_points.txt"), encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return
    if header not in text:
        return
    inside = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            inside = line == header
        elif inside and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            target = value.partition("[")[0].strip()
            yield Found(group, name.strip(), target, distribution.replace("_", "-"), version)
