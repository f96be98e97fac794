"""A worker that guards parts of its program with torch's timers; rank 1 takes longer in one of them, if told to."""

from __future__ import annotations

import os
import sys
import time

from torch.distributed.elastic import timer

timer.configure(timer.FileTimerClient(os.environ["TORCHELASTIC_TIMER_FILE"]))
with timer.expires(after=60, scope="load"):
    time.sleep(0.1)
with timer.expires(after=1, scope="step"):  # torch's own name for it is a line of contextlib
    if sys.argv[1:] == ["late"] and os.environ["RANK"] == "1":
        time.sleep(60)
time.sleep(1.5)
