"""Adds up ones over all ranks under torch's own record, and prints the sum; then the last rank fails, if it is to."""

import argparse
import os

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record


class NoGradient(Exception):
    """What this program fails with: a class of its own, to be recognised in the report."""


@record
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fail", metavar="TEXT")
    args = parser.parse_args()
    dist.init_process_group("gloo")
    ones = torch.ones(1, dtype=torch.int64)
    dist.all_reduce(ones)
    os.write(1, f"rank {dist.get_rank()} sum {int(ones.item())}\n".encode())
    last = dist.get_rank() == dist.get_world_size() - 1
    if args.fail:
        dist.barrier()  # all have printed
        dist.destroy_process_group()  # torch 2.13 without this: the end may be an abort
    if args.fail and last:
        raise NoGradient(args.fail)


if __name__ == "__main__":
    main()
