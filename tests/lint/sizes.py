"""Fails when a file or a function of the product has grown past its limit: then the design is asking for something."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 45
ROOT = Path(__file__).resolve().parents[2]


def too_long(path: Path) -> list[str]:
    """What in the file exceeds a limit, one line each."""
    text = path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT)
    lines = text.count("\n")
    found = [f"{name}: {lines} lines, at most {FILE_LINES}"] if lines > FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                found.append(f"{name}:{node.lineno}: {node.name} has {size} lines, at most {FUNCTION_LINES}")
    return found


def main() -> None:
    """Print every excess; exit with 1 when there is one."""
    files = [file for folder in ("launcher_core", "plugins") for file in sorted((ROOT / folder).rglob("*.py"))]
    found = [line for file in files for line in too_long(file)]
    print("\n".join(found) or f"{len(files)} files within their limits")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
