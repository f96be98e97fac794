"""Says that it is there by a file named after its rank, and stays; SIGTERM and its kin end it by what they are told.

Arguments: the directory, and `die` (the signal's own way), `exit` (with code 0) or `ignore`.
"""

import os
import pathlib
import signal
import sys

if __name__ == "__main__":
    folder, how = sys.argv[1:]
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        if how == "exit":
            signal.signal(signum, lambda *_: os._exit(0))
        else:
            signal.signal(signum, signal.SIG_IGN if how == "ignore" else signal.SIG_DFL)
    pathlib.Path(folder, os.environ["RANK"]).touch()
    while True:
        signal.pause()
