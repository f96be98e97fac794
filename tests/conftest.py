"""What tests of every kind use: launches as a user makes them, and launches from inside this process."""

from __future__ import annotations

import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_process import Distributions, InProcess
from launches import MARK, Launcher, describe, marked, temporary, until
from terminals import Terminal


def pytest_configure() -> None:
    """Have launches begin as in a shell: nohup and `&` leave signals ignored, which their children inherit."""
    for signum, usual in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, usual)


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """Launches of this test. Nothing they started may outlive it."""
    tools = Launcher(tmp_path)
    yield tools
    tools.end()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[InProcess]:
    """Launches by `main`, or by `elastic_launch`, in this process. Nothing they started may outlive them."""
    for name in [name for name in os.environ if name.startswith(("PET_", "TORCHELASTIC", "OMP_"))]:
        monkeypatch.delenv(name)
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("TEST_SENTINEL_PARENT", "FOOBAR")
    monkeypatch.setenv("TMPDIR", str(temporary(tmp_path)))
    monkeypatch.chdir(tmp_path)
    yield InProcess()
    until(lambda: not marked(mark), f"processes left behind: {describe(marked(mark))}", 2.0)


@pytest.fixture
def distributions(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    """Distributions with plugins, for this test's launches of both kinds."""
    made = Distributions(launcher, monkeypatch)
    yield made
    made.forget()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of this test."""
    made = Terminal()
    yield made
    made.close()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., object]:
    """`until`, for tests that import nothing."""
    return until


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on: the kernel chose it a moment ago, and hands it to nobody else soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
