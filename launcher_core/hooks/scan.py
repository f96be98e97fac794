"""The quick look at what is installed: the entry_points.txt files along a path, read without importlib.metadata.

That module costs more than all else that a launch imports. What is found here is what it would find, by test;
where only the import system itself can tell (eggs, zip files, finders of others), nothing is found at all rather
than something else. Nothing is imported and nothing is cached.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

PREFIX = "launcher."
"""What the names of all entry-point groups of plugins begin with."""


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


def scan(path: Sequence[str]) -> list[Found] | None:
    """Every plugin along the path; None when that cannot be said by looking at directories."""
    from importlib.machinery import PathFinder

    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return None
    found: list[Found] = []
    seen: set[str] = set()
    for folder in path:
        here = _metadata_in(folder)
        if here is None:
            return None
        for distribution, where in here.items():
            if distribution not in seen:
                seen.add(distribution)
                found += _plugins_of(where)
    return found


def _metadata_in(folder: str) -> dict[str, str] | None:
    """The directories of metadata in a folder, by the name of the distribution; None for an unusual folder."""
    try:
        names = os.listdir(folder or ".")
    except NotADirectoryError:
        return None  # a zip file, presumably
    except OSError:
        return {}
    if folder.lower().endswith(".egg"):
        return None
    result: dict[str, str] = {}
    for name in names:
        stem, dot, kind = name.lower().rpartition(".")
        if not dot or kind not in ("dist-info", "egg-info"):
            continue
        distribution = canonical(stem.partition("-")[0])
        if not distribution or distribution in result:
            return None  # which of them counts is up to the order in which the file system lists them
        result[distribution] = os.path.join(folder, name)
    return result


def _plugins_of(where: str) -> list[Found]:
    def read(name: str) -> str | None:
        try:
            with open(os.path.join(where, name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None

    text = read("entry_points.txt")
    return plugins_in(text, read) if text and f"[{PREFIX}" in text else []


def plugins_in(text: str, read: Callable[[str], str | None]) -> list[Found]:
    """The plugins that the text of an entry_points.txt declares; `read` gives other files of its distribution."""
    origin = origin_of(read)
    return [made(*entry, origin) for entry in _entries(text) if is_plugin(*entry[:2])]


def is_plugin(group: str, name: str) -> bool:
    """Whether an entry is about a plugin of the launcher; a line that begins with `;` is a comment."""
    return group.startswith(PREFIX) and not name.startswith(";")


def made(group: str, name: str, value: str, origin: tuple[str, str]) -> Found:
    """The plugin of an entry: its value without extras and blanks, as `module` or `module:attribute`."""
    module, colon, attribute = value.partition("[")[0].partition(":")
    return Found(group, name, module.strip() + colon + attribute.strip(), *origin)


def origin_of(read: Callable[[str], str | None]) -> tuple[str, str]:
    """(name, version) of a distribution, "?" for what its metadata do not say."""
    text = read("METADATA") or read("PKG-INFO") or ""
    headers: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip():
            break
        key, _, value = line.partition(":")
        headers.setdefault(key.strip().lower(), value.strip())
    return headers.get("name") or "?", headers.get("version") or "?"


def canonical(name: str) -> str:
    """The name of a distribution, spelled as all of its spellings are compared."""
    name = name.lower().replace("-", "_").replace(".", "_")
    while "__" in name:
        name = name.replace("__", "_")
    return name


def _entries(text: str) -> Iterator[tuple[str, str, str]]:
    """(group, name, value) of each line that has all three."""
    group = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line.strip("[]")
        elif group and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield group, name.strip(), value.strip()
