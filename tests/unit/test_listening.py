"""Patterns in what workers write: whole lines, from files and from what came through the launcher, each once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher_core.model.logs import LogsDest
from launcher_plugins.watches.listening import MOST_BYTES, Listener, Pattern


class Said:
    """A scene of two workers: rank 4 writes its stdout to a file, rank 5 its stderr through the launcher."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "stdout.log"
        self.total, self.end = 0, b""
        self.scene: Any = SimpleNamespace(
            ranks={0: 4, 1: 5},
            dest=LogsDest(stdouts={0: str(self.file), 1: ""}, stderrs={0: "/dev/null"}),
            said=self.said,
        )

    def said(self, local_rank: int) -> tuple[int, bytes]:
        return (self.total, self.end) if local_rank == 1 else (0, b"")

    def write(self, data: bytes) -> None:
        self.total += len(data)
        self.end = (self.end + data)[-40:]

    def append(self, data: bytes) -> None:
        with self.file.open("ab") as file:
            file.write(data)


@pytest.fixture
def said(tmp_path: Path) -> Said:
    return Said(tmp_path)


def hits(listener: Listener) -> tuple[int, str] | None:
    listener.hit = None
    listener.listen()
    return listener.hit


def test_a_line_is_looked_at_once_and_when_it_is_whole(said: Said) -> None:
    listener = Listener(said.scene, Pattern("WARN.*timeout"), Pattern(""))
    assert hits(listener) is None
    said.append(b"fine\nWARN: time")
    said.write(b"WARN: none\n")
    assert hits(listener) is None
    said.append(b"out\n")
    assert hits(listener) == (4, "WARN: timeout")
    assert hits(listener) is None
    said.write(b"WA")
    assert hits(listener) is None
    said.write(b"RN timeout\r")
    assert hits(listener) == (5, "WARN timeout")


def test_what_came_faster_than_it_is_kept_is_skipped(said: Said) -> None:
    listener = Listener(said.scene, Pattern("bad"), Pattern(""))
    said.append(b"bad\n" + b"x" * MOST_BYTES + b"\nbad end\n")
    assert hits(listener) == (4, "bad end")
    said.write(b"bad\n" + b"x" * 60 + b"\nbad end\n")
    assert hits(listener) == (5, "bad end")


def test_the_time_of_the_last_line_that_shows_progress_is_kept(said: Said) -> None:
    listener = Listener(said.scene, Pattern(""), Pattern(r"^step \d+"))
    said.append(b"no step 1\n")
    listener.listen()
    assert listener.good_at is None
    said.append(b"step 1\n")
    listener.listen()
    assert listener.good_at is not None


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\(' is no regular expression: missing \)"):
        Pattern("(")
