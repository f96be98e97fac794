"""What tests of torchrun's warts use: small worker programs, each with its own few lines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

BEGIN = """
import os, pathlib, select, signal, sys

here = pathlib.Path({here!r})
rank, local_rank = os.environ["RANK"], os.environ["LOCAL_RANK"]
world = os.environ["WORLD_SIZE"]
attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])


def leave(name, text=""):
    part = here / (name + ".part")
    part.write_text(text)
    part.rename(here / name)


def until(name):
    while not (here / name).exists():
        select.select([], [], [], 0.01)


def stay():
    while True:
        signal.pause()

"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Where workers leave files for the test, and find those that it leaves for them."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def script(tmp_path: Path, here: Path) -> Callable[..., Path]:
    """`script(text, name="train.py")` writes a worker's program.

    It may use rank, local_rank, world (texts), attempt (a number), `leave(name, text)`, which makes a file in
    `here`, `until(name)`, which waits for one, and `stay()`.
    """

    def write(text: str, name: str = "train.py") -> Path:
        path = tmp_path / name
        path.write_text(BEGIN.format(here=str(here)) + text)
        return path

    return write
