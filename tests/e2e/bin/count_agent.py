"""Adds to a file how many descriptors, threads and children its agent has. Then it fails, until the last attempt.

Arguments: the agent's pid, as a path that holds it; the file.
"""

import os
import pathlib
import select
import sys
import time


def state(agent: int) -> tuple[list[str], list[str]]:
    """How often each thread has run, and what descriptors there are."""
    proc = pathlib.Path(f"/proc/{agent}")
    switches = [
        f"{task.name} {line}"
        for task in sorted(proc.glob("task/*"))
        for line in (task / "status").read_text().splitlines()
        if line.startswith("voluntary")
    ]
    return switches, sorted(os.listdir(proc / "fd"))


def when_quiet(agent: int) -> None:
    """Return when the agent waits for what this worker does."""
    give_up = time.monotonic() + 20
    before = state(agent)
    while time.monotonic() < give_up:
        select.select([], [], [], 0.01)
        now = state(agent)
        if now == before:
            return
        before = now


def counts(agent: int) -> tuple[int, int, int]:
    proc = pathlib.Path(f"/proc/{agent}")
    children = [pid for file in proc.glob("task/*/children") for pid in file.read_text().split()]
    return len(os.listdir(proc / "fd")), len(os.listdir(proc / "task")), len(children)


if __name__ == "__main__":
    agent = int(pathlib.Path(sys.argv[1]).read_text())
    when_quiet(agent)
    with open(sys.argv[2], "a") as file:
        print(*counts(agent), file=file)
    sys.exit(os.environ["TORCHELASTIC_RESTART_COUNT"] != os.environ["TORCHELASTIC_MAX_RESTARTS"])
