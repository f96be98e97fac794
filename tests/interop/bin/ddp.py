"""Trains a small model with DistributedDataParallel on gloo; prints one line a rank: losses and the final weights.

Knows nothing of any launcher: rank and address come from the environment, as every tutorial has it.
"""

import argparse
import hashlib
import os
import signal

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--init-method", default="env://")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--crash-in-attempt", type=int, default=-1)
    parser.add_argument("--hang", metavar="FILE", help="in attempt 0, write the last rank's pid there and hang midway")
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
    for step in range(args.steps):
        if args.hang and attempt == 0 and rank == world - 1 and step == args.steps // 2:
            hang(args.hang)
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
    # one write: no other rank's line can come in between
    os.write(1, f"rank {rank} attempt {attempt} first {first:.6f} last {last:.6f} weights {digest}\n".encode())
    dist.destroy_process_group()
    os._exit(0)  # torch 2.13: an ordinary end may abort, or hang, while gloo's threads still let go of tensors


def hang(path: str) -> None:
    """Tell the pid, and wait for the signal that ends this process."""
    with open(f"{path}.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{path}.new", path)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
