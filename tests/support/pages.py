"""Pages of docs/ that are followed as a reader would: files written, commands run, what they print compared."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from launches import until
from sites import Site

ROOT = Path(__file__).resolve().parents[2]
NODE = re.compile(r"^(node-\d+)\$$")
SECONDS = 110


class Command(NamedTuple):
    """A command of a page: at which prompt it stands, and what is shown below it."""

    prompt: str
    line: str
    shown: str


def files(page: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))


def blocks(page: str) -> list[list[Command]]:
    """The commands of each block of a page."""
    found = re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    shape = re.compile(r"^(node-\d+\$|\$) (.*)\n((?:(?!(?:node-\d+)?\$ ).*\n)*)", re.MULTILINE)
    return [[Command(*one) for one in shape.findall(block)] for block in found]


class Reader:
    """Follows a page in a folder, with an environment of its own; `pip`, `launcher` and `pytest` are its own, too."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder = folder / "work"
        self.folder.mkdir()
        self.site = Site(folder / "site")
        tools = folder / "tools"
        tools.mkdir()
        for name, words in {
            "pip": "pip --quiet --disable-pip-version-check",
            "launcher": "launcher_core",
            "pytest": "pytest -p no:cacheprovider",
        }.items():
            more = "--no-index --no-build-isolation --no-deps" if name == "pip" else ""
            (tools / name).write_text(f'#!/bin/sh\nexec {self.site.python} -m {words} "$@" {more}\n')
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        self.env = {**env, "PATH": path, "COLUMNS": "120", "PIP_ROOT_USER_ACTION": "ignore"}

    def run(self, block: list[Command], came: Callable[[str], object]) -> list[str]:
        """What each command of the block printed. Those of nodes run at the same time, one beginning when the one
        before has come."""
        if not NODE.match(block[0].prompt):
            return [self._start(one.line).communicate(timeout=SECONDS)[0] for one in block]
        running = []
        for one in block:
            running.append(self._start(one.line))
            until(lambda line=one.line: came(line), f"{one.prompt} {one.line}")
        return [one.communicate(timeout=SECONDS)[0] for one in running]

    def _start(self, line: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", f"exec {line}" if "|" not in line else line],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def neutral(text: str, folder: Path) -> list[str]:
    """The lines without what differs from run to run and from machine to machine."""
    text = text.replace(f"{folder}/", "").replace(f"{ROOT}/", "")
    text = re.sub(rf"\b({re.escape(socket.gethostname())}|node-\d+)\b", "NODE", text)
    text = re.sub(r"launcher: time: .*", "launcher: time: ...", re.sub(r"pid \d+", "pid N", text))
    text = re.sub(r"={3,}", "===", text)
    return [line.rstrip() for line in re.sub(r"in \d+\.\d+s.*", "in N s", text).splitlines()]
