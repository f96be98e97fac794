"""A command line that runs one rank of a job once more, by hand: what a person tries first.

It stands for the worker that failed, not for the job: alone it waits where the ranks meet, until the others have been
started the same way with their numbers. Nothing of the launcher takes part; rank 0 serves the store itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from launcher_core.model.job import Place
from launcher_core.rules.worker_env import expand

PORT = 29500
"""Any that is free will do; the launcher's own is not there any more."""
ALONE = "  # the rank alone: it waits where the others are to meet it"
"""Said behind it, for the shell to skip."""


def again(argv: Sequence[str], place: Place, local_rank: int, local_world_size: int, folder: str = "") -> str:
    """The command, for a POSIX shell; "" for a worker that is no command. `folder` is where it is to be run."""
    if not argv:
        return ""
    numbers = {
        "RANK": place.base_rank + local_rank,
        "LOCAL_RANK": local_rank,
        "WORLD_SIZE": place.world_size,
        "LOCAL_WORLD_SIZE": local_world_size,
        "MASTER_ADDR": place.master_addr if place.group_world_size > 1 else "127.0.0.1",
        "MASTER_PORT": PORT,
    }
    words = shlex.join([argv[0], *(expand(word, local_rank) for word in argv[1:])])
    env = " ".join(f"{name}={shlex.quote(str(value))}" for name, value in numbers.items())
    return f"{f'cd {shlex.quote(folder)} && ' if folder else ''}{env} {words}"
