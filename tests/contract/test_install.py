"""The three ways to have the launcher: installed, installed to be edited, and straight from a checkout."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from sites import PIP, BareSite, check_setuptools

ROOT = Path(__file__).resolve().parents[2]
WORKER = "import os; os.write(1, f\"{os.environ['RANK']}/{os.environ['WORLD_SIZE']}\\n\".encode())"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the tree, as a clone has it."""
    skip = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests", "docs")
    return Path(shutil.copytree(ROOT, tmp_path / "checkout", ignore=skip))


@pytest.fixture
def site(tmp_path: Path) -> BareSite:
    """An environment that has what the launcher depends on, and no launcher."""
    check_setuptools()
    return BareSite(tmp_path / "site", launcher=False)


def run(*command: object, cwd: Path) -> str:
    """What a command prints; fails the test unless it succeeds."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PET_", "TORCHELASTIC"))}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def plugins_of(checkout: Path) -> int:
    """How many plugins setup.cfg names."""
    config = configparser.ConfigParser()
    config.read(checkout / "setup.cfg")
    groups = config["options.entry_points"].items()
    return sum(value.count(" = ") for group, value in groups if group.startswith("launcher."))


def launches(*launcher: object, cwd: Path) -> None:
    """Fail unless this launcher really starts two workers."""
    (cwd / "worker.py").write_text(WORKER)
    out = run(*launcher, "--nproc-per-node=2", "worker.py", cwd=cwd)
    assert sorted(out.split()) == ["0/2", "1/2"]


@pytest.mark.parametrize("how", [(), ("--editable",)], ids=["installed", "editable"])
def test_an_installed_launcher_launches(site, checkout, tmp_path, how):
    into = ("--prefix", tmp_path / "site", "--ignore-installed")
    local = ("--no-index", "--no-build-isolation", "--no-deps", "--no-warn-script-location")
    run(sys.executable, *PIP, "install", *into, *local, *how, checkout, cwd=tmp_path)

    origin = run(site.python, "-c", "import launcher_core; print(launcher_core.__file__)", cwd=tmp_path)
    assert origin.startswith(str(checkout if how else site.packages))
    launches(site.python, "-m", "launcher_core", cwd=tmp_path)
    listed = run(site.python, "-m", "launcher_core", "--list-plugins", cwd=tmp_path)
    assert listed.count("launcher-core") == plugins_of(checkout)
    assert (tmp_path / "site" / "bin" / "launcher").is_file()


def test_the_checkout_launches_without_being_installed(checkout, tmp_path):
    launches(sys.executable, checkout / "bin" / "launcher", cwd=tmp_path)


def test_a_checkout_that_has_run_may_be_copied_and_uses_its_own_plugins(checkout, tmp_path):
    run(sys.executable, checkout / "bin" / "launcher", "--version", cwd=tmp_path)
    copy = shutil.copytree(checkout, tmp_path / "copy", symlinks=True)
    shutil.rmtree(checkout)

    launches(sys.executable, copy / "bin" / "launcher", cwd=tmp_path)


def test_many_can_run_at_once_in_a_checkout_that_never_ran(checkout, tmp_path):
    words = [sys.executable, checkout / "bin" / "launcher", "--version"]
    many = [subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL) for _ in range(8)]

    assert [one.wait(timeout=60) for one in many] == [0] * 8


def test_a_checkout_says_what_the_interpreter_lacks(checkout, tmp_path):
    venv.EnvBuilder(symlinks=True, with_pip=False).create(tmp_path / "bare")
    python = tmp_path / "bare" / "bin" / "python"
    words = [python, checkout / "bin" / "launcher", "worker.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"launcher: error: {python} lacks what the launcher needs; "
        f"{python} -m pip install 'attrs>=23.1' 'pluggy>=1.5' 'stevedore>=5.0'\n"
    )
