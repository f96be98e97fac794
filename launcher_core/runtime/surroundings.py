"""What the workers of one start are given beside their command: environments, and the prefixes of shown lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from launcher_core.model.job import Place, Worker
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules.lines import prefix
from launcher_core.rules.worker_env import Group, without_secrets, worker_env

Extra = Callable[[Worker, Place], Mapping[str, str]]


def environments(
    config: LaunchConfig, workers: Sequence[Worker], place: Place, extra: Extra
) -> tuple[dict[str, str], dict[int, dict[str, str]]]:
    """What all inherit, and by local rank what is laid over it. `extra` has the last word."""
    inherited = without_secrets({**os.environ, **config.worker_env})
    common = Group(
        config.nproc_per_node,
        config.role,
        config.run_id,
        config.max_restarts,
        config.virtual_local_rank,
    )
    own = {one.local_rank: {**worker_env(one, place, common, inherited), **extra(one, place)} for one in workers}
    return inherited, own


def prefixes(config: LaunchConfig, workers: Sequence[Worker], hostname: str) -> dict[int, bytes]:
    """By local rank, what each shown line begins with."""
    names = {"role_name": config.role, "hostname": hostname}
    return {
        one.local_rank: prefix(
            config.log_line_prefix_template, {**names, "rank": one.rank, "local_rank": one.local_rank}
        )
        for one in workers
    }
