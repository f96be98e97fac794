"""A worker with a client of torch elastic's file timers, as their wire is published.

set_timer.py HOW [SIGNAL]
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

PATH = os.environ["TORCHELASTIC_TIMER_FILE"]


def send(line: bytes) -> None:
    """Write one line in one piece, as soon as somebody reads."""
    for _ in range(10):
        try:
            fd = os.open(PATH, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.1)
            continue
        os.write(fd, line)
        os.close(fd)
        return
    raise BrokenPipeError(PATH)


def request(scope: str, until: float, signum: int, pid: int = 0) -> None:
    fields = {"version": 1, "pid": pid or os.getpid(), "scope_id": scope, "expiration_time": until, "signal": signum}
    send(json.dumps(fields).encode() + b"\n")


how = sys.argv[1]
rank = int(os.environ["RANK"])
if how == "in time":
    request("load", time.time() + 0.3, signal.SIGKILL)
    request("load", -1.0, 0)
    time.sleep(1)
elif how == "stranger":
    request("load", time.time(), signal.SIGKILL, pid=os.getppid())
    time.sleep(1)
elif rank == 1:
    if how == "nonsense":
        for line in (b"{\n", b"nonsense\n" * 20, b'{"version": 1}\n', b"\xff\n"):
            send(line)
    request("train.py#41", time.time() + 0.2, int(sys.argv[2]) if len(sys.argv) > 2 else signal.SIGKILL)
    time.sleep(60)
else:
    time.sleep(60)
