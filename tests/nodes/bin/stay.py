"""A worker that meets the others at the store, notes that it lives, and ends when a file `stop` or `stopRANK` is there.

Writes FOLDER/PID: one line of JSON when it has met the others, and behind it the time, again and again.
"""

from time import monotonic

born = monotonic()

import json  # noqa: E402
import os  # noqa: E402
import select  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402

from launcher_plugins.c10d_store.client import StoreClient  # noqa: E402

folder = Path(sys.argv[1])
env = os.environ
rank, world = int(env["RANK"]), int(env["WORLD_SIZE"])
with StoreClient(env["MASTER_ADDR"], int(env["MASTER_PORT"]), 60.0) as store:
    if rank == 0:
        store.set("round", f"{os.getpid()}-{born}")
    round = store.get("round").decode()
    store.add("met", 1)
    if store.add("here", 1) == world:
        store.set("all", "here")
    store.get("all")
node = socket.gethostname()
agent = os.getppid()
count = int(env["TORCHELASTIC_RESTART_COUNT"])
note = {"round": round, "rank": rank, "world": world, "restarts": count, "node": node, "agent": agent, "born": born}
note |= {"address": env["MASTER_ADDR"], "secret": "PET_RDZV_TOKEN" in env}
with open(folder / f"{os.getpid()}", "wb", buffering=0) as file:
    head = json.dumps(note).encode() + b"\n"
    file.write(head)
    while not (folder / "stop").exists() and not (folder / f"stop{rank}").exists():
        os.pwrite(file.fileno(), f"{monotonic():020.6f}\n".encode(), len(head))
        select.select([], [], [], 0.02)
