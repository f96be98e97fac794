"""Surroundings that only some launches have."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launches import Launcher

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc"]


@pytest.fixture
def container(launcher: Launcher) -> Launcher:
    """Launches whose launcher is process number 1."""
    try:
        subprocess.run([*CONTAINER, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no PID namespaces here: {error}")
    launcher.wrapper = CONTAINER
    return launcher


@pytest.fixture
def small_disk(launcher: Launcher, tmp_path: Path) -> Path:
    """A directory that has room for 64 KiB, in the launches only."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o size=64k tmpfs "{folder}" && exec "$@"', "sh"]
    try:
        subprocess.run([*mount, "true"], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"nothing can be mounted here: {error}")
    launcher.wrapper = mount
    return folder


@pytest.fixture
def ended(launcher: Launcher) -> Iterator[None]:
    """Every launch is told to end, and does."""
    yield
    for running in launcher.running:
        if running.process.poll() is None:
            running.signal(signal.SIGTERM)
            running.wait()
