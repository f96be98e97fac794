"""Trains with Lightning Fabric, on as many CPU processes as there are; each rank prints its loss and weights."""

import hashlib
import os

import torch
from lightning.fabric import Fabric


def main() -> None:
    nodes, devices = int(os.environ["GROUP_WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
    fabric = Fabric(accelerator="cpu", strategy="ddp", num_nodes=nodes, devices=devices)
    fabric.launch()
    fabric.seed_everything(7)
    layer = torch.nn.Linear(8, 1)
    model, optimizer = fabric.setup(layer, torch.optim.SGD(layer.parameters(), lr=0.05))
    data = torch.Generator().manual_seed(100 + fabric.global_rank)
    losses = []
    for _ in range(20):
        x = torch.randn(16, 8, generator=data)
        loss = torch.nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        losses.append(float(fabric.all_reduce(loss.detach())))
    weights = b"".join(parameter.detach().numpy().tobytes() for parameter in model.parameters())
    said = f"{losses[0]:.6f} {losses[-1]:.6f} {hashlib.sha256(weights).hexdigest()[:16]}"
    os.write(1, f"rank {fabric.global_rank} of {fabric.world_size} said {said}\n".encode())
    fabric.barrier()
    os._exit(0)  # torch 2.13: an ordinary end may abort, or hang, while gloo's threads still let go of tensors


if __name__ == "__main__":
    main()
