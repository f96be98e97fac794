"""Meet the others at the store, say in a file after how many restarts, and wait there for what never comes.

meet.py FOLDER [RANK]     the worker of this rank fails once all have met
"""

import os
import sys
from pathlib import Path

from launcher_plugins.c10d_store.client import StoreClient

rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
with StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), timeout=60) as store:
    store.barrier("met", size)
    Path(sys.argv[1], f"{rank}of{size}").write_text(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if sys.argv[2:] == [str(rank)]:
        sys.exit(7)
    if size > 1:
        store.get("never")
