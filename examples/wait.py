"""Wait until told to stop, each rank in a place of its own: something to look at with --status and --stacks.

Run with: launcher --nproc-per-node=3 examples/wait.py
"""

import os
import threading

from launcher_core.worker import stacks


def read(shard):
    print(f"rank {os.environ['RANK']} waits for shard {shard}", flush=True)
    threading.Event().wait()


def exchange():
    threading.Barrier(2).wait()


stacks.offer()
if os.environ["RANK"] == "1":
    read(shard=17)
exchange()
