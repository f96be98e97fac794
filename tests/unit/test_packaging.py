"""setup.cfg lists packages by name, because two folders are mapped; the list must be the folders."""

import configparser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def packages_below(folder: Path, name: str) -> set[str]:
    """The packages of a source folder that is imported as `name`."""
    found = {file.parent.relative_to(folder) for file in folder.rglob("__init__.py")}
    return {".".join([name, *part.parts]) for part in found}


def test_every_package_of_the_tree_is_installed():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")

    listed = config["options"]["packages"].split()

    assert listed == sorted(listed)
    assert set(listed) == packages_below(ROOT / "launcher_core", "launcher_core") | packages_below(
        ROOT / "plugins", "launcher_plugins"
    )
