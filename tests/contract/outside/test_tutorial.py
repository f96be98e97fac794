"""The tutorial's commands do what it shows, word for word."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from launches import Launcher
from sites import Site, check_setuptools

TUTORIAL = (Path(__file__).resolve().parents[3] / "docs" / "plugin_tutorial.md").read_text()


def test_the_first_plugin_is_installed_listed_and_used_as_the_tutorial_says(
    tmp_path: Path, launcher_of: Callable[[Path], Launcher]
) -> None:
    check_setuptools()
    source = tmp_path / "source"
    source.mkdir()
    files = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL))
    for name in ("launcher_states.py", "setup.cfg", "pyproject.toml"):
        (source / name).write_text(files[name])
    commands, shown = re.findall(r"```console\n(.*?)\$ cat states.txt\n(.*?)```", TUTORIAL, re.DOTALL)[0]
    words = re.findall(r"^\$ launcher (.*)$", commands, re.MULTILINE)
    site = Site(tmp_path / "site")
    launcher = launcher_of(site.python)
    (launcher.tmp / "train.py").write_text("pass")

    site.install(source)
    listed, used = (launcher.run(*line.split()) for line in words)

    rows = [line.split() for line in listed.out.splitlines()]
    file = str(site.packages / "launcher_states.py")
    assert ["launcher.event_recorders", "states", "launcher-states", "1.0", file] in rows
    assert used.code == 0, used.err
    assert (launcher.tmp / "states.txt").read_text() == shown
