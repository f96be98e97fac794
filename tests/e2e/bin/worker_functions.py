"""Functions for workers to run; a new interpreter imports them by name, as it would a user's."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor


def rank_times(factor: int) -> int:
    return int(os.environ["RANK"]) * factor


def rank_in_a_pool() -> int:
    with ThreadPoolExecutor() as pool:
        return pool.submit(rank_times, 1).result()


def launch_inside() -> dict[int, object]:
    from launcher_core import LaunchConfig, elastic_launch

    return elastic_launch(LaunchConfig(1, 1, 2, max_restarts=0), rank_times)(3)


def greet(name: str, *, file: object = None) -> str:
    print(f"hello {name}", flush=True)
    return f"{name} {os.environ['LOCAL_RANK']}"


def fail_on(rank: int) -> None:
    if int(os.environ["RANK"]) == rank:
        raise LookupError(f"rank {rank} was told to fail")
    sys.stdin.read()


class Unreadable:
    """Can be sent, and not be read where it arrives."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_no_such_luck, ())


def _no_such_luck() -> None:
    raise LookupError("no such luck")


def unreadable_from_rank_1() -> object:
    """What the launcher cannot read, from the second of the workers."""
    return Unreadable() if os.environ["RANK"] == "1" else None
