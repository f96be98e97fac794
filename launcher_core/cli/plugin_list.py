"""What --list-plugins prints: every installed plugin, none of them imported."""

from __future__ import annotations

from launcher_core.hooks.find import FLAGS, file_of, list_plugins

HEADER = ("group", "name", "distribution", "version", "file")


def plugin_list() -> str:
    """A table: group, name, distribution, version and file of every plugin, by group and name."""
    rows = [HEADER]
    for found in list_plugins(*FLAGS):
        file = file_of(found) or "(unknown)"
        rows.append((found.group, found.name, found.distribution, found.version, file))
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER) - 1)]
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1]]) for row in rows)
    return "\n".join(lines)
