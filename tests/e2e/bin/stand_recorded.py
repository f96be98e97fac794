"""As stand.py, but the program uses `record`."""

import os
import select
import sys

from launcher_core.worker.record import record


def load() -> None:
    select.select([], [], [])


def reduce() -> None:
    select.select([], [], [])


@record
def main() -> None:
    print("here", file=sys.stderr, flush=True)
    load() if os.environ["RANK"] == "0" else reduce()


if __name__ == "__main__":
    main()
