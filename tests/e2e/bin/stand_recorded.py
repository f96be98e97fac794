"""As stand.py, but the program uses `record`."""

import os
import select

from launcher_core.worker.record import record


def load() -> None:
    select.select([], [], [])


def reduce() -> None:
    select.select([], [], [])


@record
def main() -> None:
    os.write(2, b"here\n")  # in one piece: print with -u writes the end of the line apart
    load() if os.environ["RANK"] == "0" else reduce()


if __name__ == "__main__":
    main()
