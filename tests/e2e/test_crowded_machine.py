"""Many jobs on one machine at once: each finds a port of its own, and none is told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from launches import Launcher

JOBS = 20
SCRIPT = """
import os, pathlib, sys
port = os.environ["MASTER_PORT"]
pathlib.Path(sys.argv[1], os.environ["TORCHELASTIC_RUN_ID"]).write_text(port)
"""


@pytest.mark.parametrize("flags", [("--standalone",), ("--nnodes=1",)], ids=["standalone", "no flag"])
def test_twenty_single_node_launches_at_once_all_succeed(
    launcher: Launcher, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    ports = tmp_path / "ports"
    ports.mkdir()
    script = tmp_path / "note.py"
    script.write_text(SCRIPT)

    jobs = [launcher.start(*flags, f"--rdzv-id=job{number}", script, ports) for number in range(JOBS)]
    ended = [job.wait() for job in jobs]

    assert [(one.code, one.err) for one in ended] == [(0, "")] * JOBS
    assert len(list(ports.iterdir())) == JOBS
