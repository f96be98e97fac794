"""Writes the CPUs it may run on to a file named after its rank, and stays until a signal ends it."""

import json
import os
import pathlib
import signal
import sys


def cpus() -> list[int]:
    return sorted(os.sched_getaffinity(0))


if __name__ == "__main__":
    done = pathlib.Path(sys.argv[1], os.environ["RANK"])
    part = done.with_suffix(".part")
    part.write_text(json.dumps(cpus()))
    part.rename(done)
    signal.pause()
