"""Distributions that exist only as far as finding plugins needs them to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stevedore  # before a test replaces sys.path

Make = Callable[..., Path]

assert stevedore


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes metadata: `make("site/a-1.0.dist-info", points, name="A", version="1.0")` returns the folder `site`.

    Without `points` there is no entry_points.txt, without a name no METADATA.
    """

    def write(where: str, points: str | bytes | None = None, name: str = "", version: str = "1.0") -> Path:
        info = tmp_path / where
        info.mkdir(parents=True)
        if name:
            kind = "METADATA" if where.endswith("dist-info") else "PKG-INFO"
            (info / kind).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not this\n")
        if points is not None:
            (info / "entry_points.txt").write_bytes(points if isinstance(points, bytes) else points.encode())
        return info.parent

    return write


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Path]]:
    """Writes a module that can be imported until the end of the test: `module("a.b", source)` returns its file."""
    before = set(sys.modules)
    home = tmp_path / "modules"
    monkeypatch.syspath_prepend(home)

    def write(name: str, source: str) -> Path:
        path = home / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
