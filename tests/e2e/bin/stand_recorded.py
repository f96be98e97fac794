"""As stand.py, but the program uses `record`."""

import os
import signal
import sys

from launcher_core.worker.record import record


def load() -> None:
    signal.pause()


def reduce() -> None:
    signal.pause()


@record
def main() -> None:
    print("here", file=sys.stderr, flush=True)
    load() if os.environ["RANK"] == "0" else reduce()


if __name__ == "__main__":
    main()
