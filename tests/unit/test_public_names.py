"""The public names: all can be imported, and type checkers see the same ones as Python does."""

import ast
from pathlib import Path

import launcher_core

SEEN_AT_RUN_TIME_ONLY = {"DefaultLogsSpecs"}
"""Names that a plugin brings."""


def names_for_checkers() -> set[str]:
    """What `if TYPE_CHECKING` imports in the package."""
    tree = ast.parse(Path(launcher_core.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {alias.asname for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_every_public_name_can_be_imported():
    assert all(getattr(launcher_core, name) is not None for name in launcher_core.__all__)


def test_type_checkers_see_the_public_names():
    assert names_for_checkers() | SEEN_AT_RUN_TIME_ONLY | {"__version__"} == set(launcher_core.__all__)
