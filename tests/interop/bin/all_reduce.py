"""Joins a process group on gloo and sums a one-hot tensor over it; leaves a file named after its rank if that fits."""

import argparse
import os
import pathlib

import torch
import torch.distributed as dist

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--init-method", "--init_method", required=True)
    parser.add_argument("--world-size", "--world_size", type=int, default=int(os.environ.get("WORLD_SIZE", "-1")))
    parser.add_argument("--rank", type=int, default=int(os.environ.get("RANK", "-1")))
    parser.add_argument("--touch-file-dir", type=pathlib.Path)
    args = parser.parse_args()
    dist.init_process_group("gloo", args.init_method, world_size=args.world_size, rank=args.rank)
    mine = torch.zeros(args.world_size, dtype=torch.int64)
    mine[args.rank] = 1
    dist.all_reduce(mine)
    if mine.tolist() != [1] * args.world_size:
        raise RuntimeError(f"rank {args.rank} of {args.world_size} has {mine.tolist()}")
    (args.touch_file_dir / str(args.rank)).touch()
    dist.destroy_process_group()  # torch 2.13 without this: an ordinary end may abort
