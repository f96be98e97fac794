"""Uses what torch.distributed offers beside a plain all-reduce, four ranks of it; prints what each rank saw as JSON.

Ends without destroy_process_group, as many programs do.
"""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh


def total(group: Any = None) -> int:
    """How many ranks added up in the group."""
    ones = torch.ones(1, dtype=torch.int64)
    dist.all_reduce(ones, group=group)
    return int(ones.item())


def groups(rank: int) -> list[int]:
    """The sums in overlapping pairs, in a group within a group, and along both ways of a mesh."""
    pairs = [dist.new_group([one, (one + 1) % 4]) for one in range(4)]
    sums = [total(pair) for one, pair in enumerate(pairs) if rank in (one, (one + 1) % 4)]
    odd = dist.new_group([1, 3])
    inner = dist.new_group([3])
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("rows", "columns"))
    sums += [total(odd) if rank in (1, 3) else 0, total(inner) if rank == 3 else 0]
    return [*sums, total(mesh.get_group("rows")), total(mesh.get_group("columns"))]


def objects(rank: int) -> list[Any]:
    """What all ranks sent, what rank 0 sent, and what the neighbour sent."""
    everything: list[Any] = [None] * 4
    dist.all_gather_object(everything, {"rank": rank})
    told = [("from", rank)]
    dist.broadcast_object_list(told, src=0)
    got = torch.zeros(1, dtype=torch.int64)
    sending = dist.isend(torch.tensor([rank]), (rank + 1) % 4)
    dist.recv(got, (rank - 1) % 4)
    sending.wait()
    return [everything, told, int(got.item())]


def barriers(rank: int) -> str:
    """What a barrier says of a rank that never came to it."""
    dist.barrier()
    dist.monitored_barrier()
    late = dist.new_group([0, 1, 2, 3])
    try:
        if rank != 2:
            dist.monitored_barrier(late, timeout=timedelta(seconds=0.5), wait_all_ranks=True)
    except RuntimeError as error:
        return str(error) if rank == 0 else "somebody was late"
    return "nothing"


def store(rank: int) -> dict[str, Any]:
    """What the store answers to each of its requests."""
    mine: Any = dist.distributed_c10d._get_default_store()
    mine.set(f"rank{rank}", str(rank))
    mine.wait([f"rank{one}" for one in range(4)], timedelta(seconds=30))
    mine.add("sum", rank + 1)
    dist.barrier()
    answers: dict[str, Callable[[], Any]] = {
        "get": lambda: mine.get(f"rank{(rank + 1) % 4}").decode(),
        "sum": lambda: mine.add("sum", 0),
        "check": lambda: [mine.check(["rank0", "rank3"]), mine.check(["rank0", "rank9"])],
        "append": lambda: [mine.append(f"a{rank}", "x"), mine.append(f"a{rank}", "yz"), mine.get(f"a{rank}").decode()],
        "compare": lambda: [mine.compare_set(f"c{rank}", old, "new").decode() for old in ("", "other")],
        "multi": lambda: [mine.multi_set([f"m{rank}"], ["v"]), mine.multi_get([f"m{rank}", "rank0"])[1].decode()],
        "queue": lambda: [mine.queue_push(f"q{rank}", "one"), mine.queue_len(f"q{rank}"), *mine.queue_pop(f"q{rank}")],
        "big": lambda: [mine.set(f"big{rank}", "x" * 4_000_000), len(mine.get(f"big{rank}"))],
        "deleted": lambda: [mine.delete_key(f"m{rank}"), mine.delete_key(f"m{rank}")],
        "clone": lambda: mine.clone().get("rank0").decode(),
    }
    told = {name: answer() for name, answer in answers.items()}
    try:
        mine.wait(["nobody sets this"], timedelta(milliseconds=200))
    except dist.DistStoreError:
        told["wait in vain"] = mine.get("rank0").decode()
    return told


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    seen = {
        "launched": dist.is_torchelastic_launched(),
        "groups": groups(rank),
        "objects": objects(rank),
        "barriers": barriers(rank),
        "store": store(rank),
    }
    os.write(1, f"{json.dumps({'rank': rank, **seen})}\n".encode())
    dist.barrier()
    os._exit(0)  # torch 2.13: an ordinary end may abort, or hang, while gloo's threads still let go of tensors


if __name__ == "__main__":
    main()
