"""A worker that ignores every polite signal, as all that it has started do: a child, one in a session of its own, an
orphan, and an orphan in a session of its own.

Leaves DIRECTORY/RANK when they are there; ends with 3, when it is rank N, once there is DIRECTORY/failN.
"""

import os
import pathlib
import select
import signal
import sys

KINDS = ((False, False), (True, False), (False, True), (True, True))
"""Whether in a session of its own, and whether an orphan."""


def start(session: bool, orphan: bool) -> None:
    """Start one; it sleeps when this returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if session:
            os.setsid()
        if orphan and os.fork():
            os._exit(0)
        os.execvp("sleep", ["sleep", "600"])  # which closes the pipe
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    if orphan:
        os.waitpid(child, 0)


if __name__ == "__main__":
    folder, rank = pathlib.Path(sys.argv[1]), os.environ["RANK"]
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    for kind in KINDS:
        start(*kind)
    (folder / f".{rank}").write_text(str(os.getpid()))
    (folder / f".{rank}").rename(folder / rank)
    while not (folder / f"fail{rank}").exists():
        select.select([], [], [], 0.01)
    sys.exit(3)
