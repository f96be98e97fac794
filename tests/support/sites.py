"""Python environments to install plugins into, and wheels to install: as a user does it, by pip."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet")
RUNS_ON = ("attr", "attrs", "pluggy", "stevedore")
"""What the launcher imports beside the standard library."""


class Site:
    """An environment of its own, which sees what the tests run with but is not seen by it."""

    def __init__(self, folder: Path) -> None:
        self.python = _environment(folder)
        self.packages = _packages_of(folder)
        seen = sysconfig.get_path("purelib")
        # by addsitedir, so that what is installed in editable mode there is seen, too
        (self.packages / "seen.pth").write_text(f"import site; site.addsitedir({seen!r})\n")

    def install(self, *what: Path) -> None:
        """Install wheels, or distributions from their source folders."""
        _run(self.python, *PIP, "install", "--no-index", "--no-build-isolation", "--no-deps", *what)

    def run(self, *words: object, env: dict[str, str] | None = None) -> str:
        """What a program prints here that this environment's Python runs; fails the test when it fails."""
        return _run(self.python, *words, env=env)

    def uninstall(self, distribution: str) -> None:
        """Uninstall what was installed here."""
        _run(self.python, *PIP, "uninstall", "--yes", distribution)


class BareSite:
    """An environment where the launcher is installed but declares no entry points; it sees no other.

    Without `launcher` it has only what the launcher depends on.
    """

    def __init__(self, folder: Path, *, launcher: bool = True) -> None:
        self.python = _environment(folder)
        self.packages = _packages_of(folder)
        for name in RUNS_ON:
            (self.packages / name).symlink_to(_home(name))
        if not launcher:
            return
        for name in ("launcher_core", "launcher_plugins"):
            shutil.copytree(_home(name), self.packages / name, ignore=shutil.ignore_patterns("__pycache__"))
        info = self.packages / "launcher_core-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: launcher-core\nVersion: 0\n")

    def install(self, *what: Path) -> None:
        """Install wheels."""
        _run(sys.executable, *PIP, "install", "--no-index", "--no-deps", "--target", self.packages, *what)


def wheels(sources: list[Path], folder: Path) -> dict[str, Path]:
    """Wheels built from the sources, by the names of the sources' folders; the sources stay as they are."""
    check_setuptools()
    copies = [source_copy(source, folder) for source in sources]
    built = folder / "wheels"
    _run(sys.executable, *PIP, "wheel", "--no-index", "--no-build-isolation", "--no-deps", "-w", built, *copies)
    names = {source.name: _name(source) for source in sources}
    return {folder: next(built.glob(f"{name.replace('-', '_')}-*.whl")) for folder, name in names.items()}


def source_copy(source: Path, folder: Path) -> Path:
    """A copy of a distribution's source: building leaves its traces there."""
    target = folder / source.name
    return Path(shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")))


def check_setuptools() -> None:
    """Fail with the remedy where distributions cannot be built without fetching what builds them."""
    version = metadata.version("setuptools")
    if int(version.partition(".")[0]) < 77:
        pytest.fail(f"the tests build distributions with setuptools 77 or later, here is {version}: pip install -U it")


def _environment(folder: Path) -> Path:
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    return folder / "bin" / "python"


def _packages_of(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))


def _home(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations)))


def _name(source: Path) -> str:
    lines = (source / "setup.cfg").read_text().splitlines()
    return next(line.partition("=")[2].strip() for line in lines if line.startswith("name ="))


def _run(*words: object, env: dict[str, str] | None = None) -> str:
    quiet = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_NO_WARN_SCRIPT_LOCATION": "1"}
    everything = {**os.environ, **quiet, **(env or {})}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=everything, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout
