"""Ends as its RANK-th argument says: an exit code, minus a signal's number, `wait`, or text for `sys.exit`."""

import os
import signal
import sys


def end(how: str) -> None:
    if how == "wait":
        while True:
            signal.pause()
    try:
        code = int(how)
    except ValueError:
        sys.exit(how)
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    end(sys.argv[1 + int(os.environ["RANK"])])
