"""Forms a gloo group and adds up ones; leaves a file that says so in the directory that its first argument names.

`crash` as the second argument: in the first attempt the last rank dies while the group forms. `grow`: a group of one
goes on until it is stopped.
"""

import os
import pathlib
import sys
import threading

import torch
import torch.distributed as dist


def main() -> None:
    folder, how = pathlib.Path(sys.argv[1]), sys.argv[2]
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    if how == "crash" and attempt == "0" and rank == world - 1:
        store = dist.TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
        dist.PrefixStore("default_pg", store).set("somebody", "was here")
        os._exit(9)
    dist.init_process_group("gloo")
    ones = torch.ones(1)
    dist.all_reduce(ones)
    dist.barrier()
    (folder / f"rank {rank} attempt {attempt} sum {int(ones.item())}").touch()
    if how == "grow" and world == 1:
        threading.Event().wait()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
