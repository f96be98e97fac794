"""Reports against docs/report.md: every field is in its table, and of the type that stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "report.md").read_text()
_FIELDS, _CLASSES = PAGE.split("## Classes")
FIELDS: dict[str, str] = dict(re.findall(r"^\| `([\w.\[\]]+)` \| ([a-z ]+) \|", _FIELDS, re.MULTILINE))
CLASSES: list[str] = re.findall(r"^\| `(\w+)` \|", _CLASSES, re.MULTILINE)
TYPES = {"string": str, "integer": int, "number": float, "object": dict, "list": list, "boolean": bool}
TYPES |= {"null": type(None)}


def check(report: dict[str, Any]) -> set[str]:
    """The names of the fields in the report, which has all that the page lists and no other, in the page's order."""
    found = list(_flat(report))
    for name, value in found:
        assert type(value) in [TYPES[kind] for kind in FIELDS[name].split(" or ")], f"{name}={value!r}"
    names = list(dict.fromkeys(name for name, _ in found))
    assert names == [name for name in FIELDS if name in names]
    empty = [name for name, value in found if value is None or value == []]
    missing = [name for name in FIELDS if name not in names]
    assert [name for name in missing if not any(re.match(rf"{re.escape(one)}[.\[]", name) for one in empty)] == []
    assert report["cause"] is None or report["cause"]["class"] in CLASSES
    return set(names)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every field by its name in the table, with what it holds."""
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(f"{path}.{name}" if path else name, one) for name, one in value.items()]
    elif isinstance(value, list):
        items = [(f"{path}[]", one) for one in value]
    for name, one in items:
        yield name, one
        yield from _flat(one, name)
