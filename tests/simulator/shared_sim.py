"""Runs simulated jobs over a register: `shared_sim.py --seeds 2000`, or one seed with its whole history.

replay with: python tests/simulator/shared_sim.py SEED
"""

from __future__ import annotations

import argparse
import sys
from time import process_time

from shared.world import FAULTS, Broken, World

__all__ = ["FAULTS", "Failure", "run"]


class Failure(AssertionError):
    """A seed whose job broke an invariant, and the end of its history."""


def run(seed: int) -> World:
    """The world of one seed at its end. Raises Failure, which says how to see it again."""
    world = World(seed)
    try:
        world.play()
    except Exception as error:
        history = "\n".join(world.log[-12:])
        what = error if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        raise Failure(f"{history}\n{what}\nreplay with: python tests/simulator/shared_sim.py {seed}") from error
    return world


def main(argv: list[str]) -> int:
    """Replay one seed, or run many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this one and print its history")
    parser.add_argument("--seeds", type=int, default=2000, help="how many")
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args(argv)
    if args.seed is not None:
        world = World(args.seed)
        try:
            world.play()
        finally:
            print("\n".join(world.log))
        return 0
    began, failed = process_time(), 0
    for seed in range(args.first, args.first + args.seeds):
        try:
            run(seed)
        except Failure as failure:
            failed += 1
            print(f"{failure}\n")
    print(f"{args.seeds} seeds, {failed} failed, in {process_time() - began:.1f} s of CPU")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
