"""Adds the name of each signal it gets to a file named after its rank. Some ways to go on from there.

Arguments: the directory; `stay`, or `exit` with 0 on the first signal; and signals besides the usual ones.
"""

import os
import pathlib
import signal
import sys

USUAL = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")

if __name__ == "__main__":
    folder, how, *more = sys.argv[1:]
    file = pathlib.Path(folder, os.environ["RANK"])

    def got(signum: int, frame: object) -> None:
        with file.open("a") as lines:
            print(signal.Signals(signum).name, file=lines)
        if how == "exit":
            os._exit(0)

    for name in (*USUAL, *more):
        signal.signal(signal.Signals[name], got)
    file.touch()
    while True:
        signal.pause()
