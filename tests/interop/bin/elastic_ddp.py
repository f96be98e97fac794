"""Trains until it is told to stop, through every regroup: from the last checkpoint, with as many workers as there are.

Arguments: a folder for the checkpoint, the journal (a line per step: round, world size, step, loss) and the stop file.
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

FOLDER = Path(sys.argv[1])
CHECKPOINT = FOLDER / "checkpoint.pt"


def batch(step: int, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1000 * step + rank)
    inputs = torch.randn(32, 8, generator=generator)
    return inputs, inputs @ torch.arange(8.0).unsqueeze(1) / 8


def main() -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 1)
    step = 0
    if CHECKPOINT.exists():
        saved = torch.load(CHECKPOINT)
        model.load_state_dict(saved["model"])
        step = saved["step"]
    shared = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(shared.parameters(), lr=0.01)
    going = torch.ones(1)
    while going.item():
        inputs, targets = batch(step, rank)
        loss = torch.nn.functional.mse_loss(shared(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        dist.all_reduce(loss.detach_(), op=dist.ReduceOp.SUM)
        if rank == 0:
            torch.save({"model": model.state_dict(), "step": step}, CHECKPOINT.with_suffix(".new"))
            CHECKPOINT.with_suffix(".new").rename(CHECKPOINT)
            with (FOLDER / "journal").open("a") as file:
                restarts = os.environ["TORCHELASTIC_RESTART_COUNT"]
                file.write(f"{world} {restarts} {step} {loss.item() / world:.6f}\n")
            going[0] = not (FOLDER / "stop").exists()
        dist.broadcast(going, 0)
    dist.destroy_process_group()


main()
