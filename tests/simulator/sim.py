"""Runs simulated jobs: `python tests/simulator/sim.py --seeds 2000`, or one seed with its whole history.

replay with: python tests/simulator/sim.py SEED
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from time import process_time

from simulated.faults import FAULTS
from simulated.invariants import Broken
from simulated.story import Story

__all__ = ["FAULTS", "Failure", "first_failure", "main", "run"]


class Failure(AssertionError):
    """A seed whose job broke an invariant, and the end of its history."""


def run(seed: int) -> Story:
    """The story of one seed. Raises Failure, which says how to see it again."""
    story = Story(seed)
    try:
        story.play()
    except Exception as error:
        history = "\n".join(story.world.log[-12:])
        what = error if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        raise Failure(f"{history}\n{what}\nreplay with: python tests/simulator/sim.py {seed}") from error
    return story


def first_failure(seeds: Iterable[int]) -> Failure | None:
    """How the first seed failed that did; None when all went well."""
    for seed in seeds:
        try:
            run(seed)
        except Failure as failure:
            return failure
    return None


def _replay(seed: int) -> int:
    story = Story(seed)
    try:
        story.play()
    finally:
        print("\n".join(story.world.log))
    return 0


def _many(first: int, count: int) -> int:
    began, virtual, failed = process_time(), 0.0, 0
    for seed in range(first, first + count):
        try:
            virtual += run(seed).world.now
        except Failure as failure:
            failed += 1
            print(f"{failure}\n")
    seconds = process_time() - began
    print(f"{count} seeds, {failed} failed, {virtual:.0f} s of virtual time in {seconds:.1f} s of CPU")
    return 1 if failed else 0


def main(argv: list[str]) -> int:
    """Replay one seed, or run many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this one and print its history")
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args(argv)
    return _many(args.first, args.seeds) if args.seed is None else _replay(args.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
