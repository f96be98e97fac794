"""DistributedDataParallel on gloo as every tutorial has it: nothing in it knows of a launcher. Needs torch."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(7)
model = DistributedDataParallel(torch.nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
noise = torch.Generator().manual_seed(rank)
for step in range(50):
    x = torch.randn(64, 8, generator=noise)
    loss = torch.nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if rank == 0 and step % 10 == 0:
        print(f"step {step:2}: loss {loss.item():.4f}", flush=True)
print(f"rank {rank} of {os.environ['WORLD_SIZE']}: weights sum to {sum(p.sum() for p in model.parameters()):.6f}")
dist.destroy_process_group()
