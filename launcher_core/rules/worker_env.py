"""The environment of one worker: what torch elastic's workers get, name by name.

Source: the variables torchrun 2.13 and 2.15 set. Nothing that the launcher inherited is removed,
save the job's secrets: what knows them may take part in the rendezvous, and workers have no business there.
"""

from collections.abc import Mapping
from typing import NamedTuple

from launcher_core.errors import UsageError
from launcher_core.model.job import Place, Worker

TOKEN_VARIABLE = "PET_RDZV_TOKEN"
SECRETS = (TOKEN_VARIABLE, "PET_RDZV_PASSWORD")
"""The variables that a rendezvous may be told a secret by."""


class Group(NamedTuple):
    """What all workers of this node have in common, beside their place."""

    local_world_size: int
    role: str
    run_id: str
    max_restarts: int
    virtual_local_rank: bool = False


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """The environment, less what workers may not know."""
    return {name: value for name, value in env.items() if name not in SECRETS}


def worker_env(worker: Worker, place: Place, group: Group, base: Mapping[str, str]) -> dict[str, str]:
    """The variables to lay over `base`, the launcher's own environment, for one worker."""
    env = {
        "LOCAL_RANK": "0" if group.virtual_local_rank else str(worker.local_rank),
        "RANK": str(worker.rank),
        "GROUP_RANK": str(place.group_rank),
        "ROLE_RANK": str(worker.role_rank),
        "ROLE_NAME": group.role,
        "LOCAL_WORLD_SIZE": str(group.local_world_size),
        "WORLD_SIZE": str(place.world_size),
        "GROUP_WORLD_SIZE": str(place.group_world_size),
        "ROLE_WORLD_SIZE": str(place.role_world_size),
        "MASTER_ADDR": place.master_addr,
        "MASTER_PORT": str(place.master_port),
        "TORCHELASTIC_RESTART_COUNT": str(place.restarts),
        "TORCHELASTIC_MAX_RESTARTS": str(group.max_restarts),
        "TORCHELASTIC_RUN_ID": group.run_id,
        "TORCHELASTIC_USE_AGENT_STORE": str(place.use_agent_store),
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": base.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "1"),
    }
    if group.virtual_local_rank:
        env.update(_own_device(worker.local_rank, base))
    return env


def _own_device(local_rank: int, base: Mapping[str, str]) -> dict[str, str]:
    """The one device that a worker sees as its device 0 (torchrun's --virtual-local-rank)."""
    for source in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        text = base.get(source)
        if not text and (source == "HIP_VISIBLE_DEVICES" or text is None):
            continue
        devices = [item.strip() for item in (text or "").split(",")]
        if local_rank >= len(devices):
            raise UsageError(
                f"--virtual-local-rank: {source}={text!r} lists {len(devices)} device(s), none for local rank "
                f"{local_rank}; lower --nproc-per-node or list more devices"
            )
        mine = {"CUDA_VISIBLE_DEVICES": devices[local_rank]}
        if source == "HIP_VISIBLE_DEVICES":
            mine["HIP_VISIBLE_DEVICES"] = devices[local_rank]
        return mine
    return {"CUDA_VISIBLE_DEVICES": str(local_rank)}


def expand(argument: str, local_rank: int) -> str:
    """A command's argument with the macro `${local_rank}` filled in; every other text stays as it is."""
    return argument.replace("${local_rank}", str(local_rank))
