"""Surroundings that only some launches have."""

from __future__ import annotations

import subprocess

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
