"""A worker that gives heartbeats and writes lines; rank 1 goes over to what it is told: silent, long or quiet."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from launcher_core.worker import heartbeat, section


def lines() -> None:
    """Shows signs of progress, none of which is a heartbeat."""
    while not Path("end").exists():
        os.write(1, b".\n")
        time.sleep(0.05)


heartbeat()
if os.environ["RANK"] == "1":
    if sys.argv[1] == "silent":
        lines()
    elif sys.argv[1] == "long":
        with section("checkpoint", timeout=0.5):
            lines()
    else:
        with section("checkpoint", timeout=600):
            time.sleep(6)
    sys.exit(0)
while not Path("end").exists():
    heartbeat()
    if sys.argv[1] == "quiet":
        heartbeat()
        time.sleep(6)
        break
    time.sleep(0.05)
