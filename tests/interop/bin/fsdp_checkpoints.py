"""Trains with FSDP2, with a distributed checkpoint after each step; goes on from the last one when started again."""

import argparse
import hashlib
import os

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--crash-after", type=int, default=-1, help="in attempt 0, the last rank dies after this step")
    args = parser.parse_args()
    dist.init_process_group("gloo")
    rank, attempt = dist.get_rank(), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    for layer in (model[0], model[2], model):
        fully_shard(layer, mesh=dist.init_device_mesh("cpu", (dist.get_world_size(),)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    done = sorted(int(name) for name in os.listdir(args.folder) if os.path.exists(f"{args.folder}/{name}/.metadata"))
    first = done[-1] + 1 if done else 0
    if done:
        restore(model, optimizer, f"{args.folder}/{done[-1]}")
    for step in range(first, args.steps):
        x = torch.randn(16, 8, generator=torch.Generator().manual_seed(100 * step + rank))
        loss = torch.nn.functional.mse_loss(model(x), x.sum(dim=1, keepdim=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        models, optimizers = get_state_dict(model, optimizer)
        dcp.save({"model": models, "optimizer": optimizers}, checkpoint_id=f"{args.folder}/{step}")
        if attempt == 0 and step == args.crash_after and rank == dist.get_world_size() - 1:
            os._exit(9)
    weights = b"".join(parameter.full_tensor().detach().numpy().tobytes() for parameter in model.parameters())
    digest = hashlib.sha256(weights).hexdigest()[:16]
    os.write(1, f"rank {rank} attempt {attempt} from {first} to {args.steps} weights {digest}\n".encode())
    dist.destroy_process_group()
    os._exit(0)  # torch 2.13: an ordinary end may abort, or hang, while gloo's threads still let go of tensors


def restore(model: torch.nn.Module, optimizer: torch.optim.Optimizer, folder: str) -> None:
    """Put model and optimizer into the state that was saved there."""
    models, optimizers = get_state_dict(model, optimizer)
    dcp.load({"model": models, "optimizer": optimizers}, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=models, optim_state_dict=optimizers)


if __name__ == "__main__":
    main()
