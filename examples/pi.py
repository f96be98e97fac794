"""Estimates pi on all workers together, without torch: they meet at the store that the launcher serves."""

import os
import random
import sys

from launcher_plugins.c10d_store.client import StoreClient

DRAWS = 200_000

rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
draw = random.Random(rank).random
inside = sum(draw() ** 2 + draw() ** 2 < 1 for _ in range(DRAWS))

with StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])) as store:
    store.add("inside", inside)
    store.barrier("all have added", world)
    total = store.add("inside", 0)

sys.stdout.write(f"rank {rank} of {world}: pi is about {4 * total / (DRAWS * world):.4f}\n")
