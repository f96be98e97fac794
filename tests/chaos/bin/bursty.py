"""A healthy worker that is hard to tell from one that hangs: it computes, sleeps, waits, writes, and does so unevenly.

    bursty.py SECONDS LONGEST

Runs for SECONDS; no phase takes longer than LONGEST. All workers know the same random numbers, so each knows whose turn
it is. What a phase is, and who takes part, changes; after each all add up a number, as in training.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time

from hang import RANK, WORLD, Group

from launcher_core.worker.record import record

SECONDS, LONGEST = (float(word) for word in sys.argv[1:3])
sys.argv[1:] = []


def compute(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def compute_in_a_thread(seconds: float) -> None:
    thread = threading.Thread(target=compute, args=(seconds,))
    thread.start()
    thread.join()


def rest(seconds: float) -> None:
    time.sleep(seconds)


def checkpoint(seconds: float) -> None:
    end = time.monotonic() + seconds
    with open(f"checkpoint-{RANK}", "wb") as file:
        while time.monotonic() < end:
            file.write(bytes(100_000))
            os.fsync(file.fileno())
            time.sleep(0.05)


def children(seconds: float) -> None:
    subprocess.run(["sleep", f"{seconds}"], check=True)


def talk(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(2, b".")
        time.sleep(0.2)


def poll(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def steps(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        compute(0.02)
        time.sleep(0.02)


PHASES = (compute, compute_in_a_thread, rest, checkpoint, children, talk, poll, steps)


@record
def main() -> None:
    group, chance = Group(spin=False), random.Random(os.environ["TORCHELASTIC_RUN_ID"])
    began = time.monotonic()
    over = 0
    while not over:
        group.spin = chance.random() < 0.2
        alike = chance.random() < 0.5
        turns = [(chance.choice(PHASES), chance.random() < 0.6, chance.uniform(0, LONGEST)) for _ in range(WORLD)]
        phase, takes_part, seconds = turns[0] if alike else turns[RANK]
        if takes_part:
            phase(seconds)
        over = group.all_reduce(int(RANK == 0 and time.monotonic() - began > SECONDS))


main()
