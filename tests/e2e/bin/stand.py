"""Says `here` on stdout and stands still, rank 0 in another place than the others, until it is ended.

With --urgent it handles SIGURG itself, and writes a file should it come. With --pause it waits for a signal, and writes
a file should one come. With --fail DIRECTORY it fails the first time.
"""

import os
import pathlib
import select
import signal
import sys


def load() -> None:
    select.select([], [], [])


def reduce() -> None:
    select.select([], [], [])


if __name__ == "__main__":
    if "--urgent" in sys.argv:
        signal.signal(signal.SIGURG, lambda *_: pathlib.Path("urgent").touch())
    if "--fail" in sys.argv and not pathlib.Path(sys.argv[2], "failed").exists():
        pathlib.Path(sys.argv[2], "failed").touch()
        sys.exit(3)
    os.write(1, b"here\n")  # in one piece: print with -u writes the end of the line apart
    if "--pause" in sys.argv:
        signal.pause()
        pathlib.Path("disturbed").touch()
    load() if os.environ["RANK"] == "0" else reduce()
