"""A worker that writes what it was told, then computes and writes dots until there is a file `end`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import sleep

stream, rank, *lines = sys.argv[1:]
if os.environ["RANK"] == rank:
    for line in lines:
        print(line, file=getattr(sys, stream), flush=True)
while not Path("end").exists():
    sum(range(100_000))
    sys.stderr.write(".")
    sys.stderr.flush()
    sleep(0.05)
