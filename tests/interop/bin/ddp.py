"""Trains a small model with DistributedDataParallel on gloo; prints one line a rank: losses and the final weights.

Knows nothing of any launcher: rank and address come from the environment, as every tutorial has it.
"""

import argparse
import hashlib
import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--init-method", default="env://")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--crash-in-attempt", type=int, default=-1)
    args = parser.parse_args()
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    dist.init_process_group("gloo", init_method=args.init_method, rank=rank, world_size=world)
    attempt = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    dist.barrier()
    if rank == world - 1 and attempt <= args.crash_in_attempt:
        os._exit(9)
    torch.manual_seed(7)
    torch.set_num_threads(1)
    model = DistributedDataParallel(torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    data = torch.Generator().manual_seed(100 + rank)
    losses = []
    for _ in range(args.steps):
        x = torch.randn(16, 8, generator=data)
        y = x.sum(dim=1, keepdim=True)
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    mean = torch.tensor([losses[0], losses[-1]])
    dist.all_reduce(mean)
    first, last = (mean / world).tolist()
    digest = hashlib.sha256(weights).hexdigest()[:16]
    print(f"rank {rank} attempt {attempt} first {first:.6f} last {last:.6f} weights {digest}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
