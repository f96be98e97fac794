"""Fails once, on rank 1 of the first attempt, and then works. With the argument `stubborn` it never works."""

import os
import sys

from launcher_plugins.c10d_store.client import StoreClient

rank, attempt = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])


def load(shard: int) -> int:
    rows = 17 if shard == 1 and (attempt == 0 or "stubborn" in sys.argv) else 4096
    if rows != 4096:
        raise ValueError(f"shard {shard}: expected 4096 rows, found {rows}")
    return rows


rows = load(rank)
with StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])) as store:
    store.barrier("all have loaded", int(os.environ["WORLD_SIZE"]))
sys.stdout.write(f"rank {rank}, attempt {attempt}: {rows} rows\n")
