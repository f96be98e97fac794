"""Stands still after it has written DIRECTORY/here-RANK-ATTEMPT; rank N ends with 3 once there is DIRECTORY/failN."""

import os
import pathlib
import select
import sys

from launcher_core.worker.record import record

HERE = pathlib.Path(sys.argv[1])
RANK = os.environ["RANK"]


def all_reduce() -> None:
    select.select([], [], [])


@record
def main() -> None:
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    (HERE / f"here-{RANK}-{attempt}").touch()
    if str(int(attempt) + 1) == RANK:
        while not (HERE / f"fail{RANK}").exists():
            select.select([], [], [], 0.01)
        sys.exit(3)
    all_reduce()


if __name__ == "__main__":
    main()
