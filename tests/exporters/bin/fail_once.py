"""Rank 1 fails with 7 in the first round, by itself; in the second all succeed. Before that a file `go` is waited for.

Argument: the directory of that file.
"""

import os
import pathlib
import sys

if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if first and os.environ["RANK"] == "1":
        sys.exit(7)
    if not first and (folder / "go").exists():
        (folder / "go").read_bytes()  # a FIFO: until somebody writes to it
