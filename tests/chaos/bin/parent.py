"""Starts a child of the given kind, leaves a file named after its rank in the directory, and ends or stays.

Arguments: the directory; the kind of child: `plain`, `deaf` to signals, an `orphan` in the worker's group, or in a
`session` of its own; and `stay`, `fail` or `succeed`.
"""

import os
import pathlib
import signal
import sys

DEAF = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def sleep() -> None:
    os.execvp("sleep", ["sleep", "600"])


def start(kind: str) -> None:
    """Start the child; it is what it is meant to be when this returns."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        if kind == "orphan" and os.fork():
            os._exit(0)
        if kind == "session":
            os.setsid()
        if kind in ("deaf", "session"):
            for signum in DEAF:
                signal.signal(signum, signal.SIG_IGN)
        sleep()  # which closes the pipe
    os.close(writing)
    os.read(reading, 1)
    if kind == "orphan":
        os.waitpid(child, 0)


if __name__ == "__main__":
    folder, kind, how = sys.argv[1:]
    for signum in DEAF:
        signal.signal(signum, signal.SIG_DFL)
    start(kind)
    pathlib.Path(folder, f".{os.environ['RANK']}").write_text(str(os.getpid()))
    os.rename(f"{folder}/.{os.environ['RANK']}", f"{folder}/{os.environ['RANK']}")
    while how == "stay":
        signal.pause()
    sys.exit(how == "fail")
