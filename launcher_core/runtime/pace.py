"""What every rendezvous with a coordinator lets the user set: how fast a loss is noticed, and the job's secret."""

from __future__ import annotations

import os

from launcher_core.errors import UsageError
from launcher_core.model.settings import LONGEST, RendezvousParameters
from launcher_core.model.value import Value
from launcher_core.rules.worker_env import TOKEN_VARIABLE

PACE_KEYS = {
    "keep_alive_interval": "seconds between two signs of life (0.5)",
    "keep_alive_max_attempt": "signs of life that may be missing before a node is lost (3)",
    "host_loss_timeout": "seconds without the host until a node gives up (4.5)",
    "token_file": "file with a secret that all agents must share (none; or the variable PET_RDZV_TOKEN)",
}


class Pace(Value):
    """Seconds."""

    interval: float
    """Between two signs of life."""
    silence: float
    """Without a word from a node until it counts as lost."""
    fence: float
    """From then until its workers are gone for certain, wherever it is."""
    host_loss: float
    """Without the host until a node gives up."""


def pace_of(params: RendezvousParameters) -> Pace:
    """As the parameters say. Raises UsageError."""
    interval = params.get_as_seconds("keep_alive_interval", 0.5)
    silence = min(interval * params.get_as_seconds("keep_alive_max_attempt", 3), LONGEST)
    return Pace(interval, silence, silence / 3, max(params.get_as_seconds("host_loss_timeout", 4.5), 2 * silence))


def secret(params: RendezvousParameters) -> bytes:
    """What agents prove to know; b"" for nothing. Raises UsageError when it was promised and is not there."""
    path = params.get("token_file")
    if path is None:
        return os.environ.get(TOKEN_VARIABLE, "").encode()
    try:
        with open(path, "rb") as file:
            token = file.read(4096).strip()
    except OSError as error:
        raise UsageError(f"--rdzv-conf token_file={path}: {error.strerror}") from error
    if not token:
        raise UsageError(f"--rdzv-conf token_file={path}: the file is empty")
    return token
