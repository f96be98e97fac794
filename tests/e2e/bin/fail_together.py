"""All ranks meet in the folder of the first argument, and then each ends as its own argument says.

`wait`, `exit=N`, `signal=N`, `raise=TEXT`; `reset` as who has lost a connection; `slowly=TEXT` raises, says so, and
needs half a second more to be gone; `done` ends well.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
from pathlib import Path


def work(how: str, what: str) -> None:
    if how == "slowly":
        atexit.register(select.select, [], [], [], 0.5)
    if how in ("raise", "slowly"):
        raise ValueError(what)
    if how == "reset":
        raise ConnectionResetError("Connection reset by peer")
    if how == "signal":
        os.kill(os.getpid(), int(what))
    if how == "exit":
        sys.exit(int(what))
    while how == "wait":
        signal.pause()


def meet(folder: Path) -> None:
    attempt, rank = os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"]
    (folder / f"{attempt}.{rank}").touch()
    while len(list(folder.glob(f"{attempt}.*"))) < int(os.environ["WORLD_SIZE"]):
        select.select([], [], [], 0.01)


if __name__ == "__main__":
    meet(Path(sys.argv[1]))
    work(*sys.argv[2 + int(os.environ["RANK"])].partition("=")[::2])
