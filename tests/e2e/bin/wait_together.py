"""A worker that says that it waits, and waits at a socket; after SIGUSR1 it writes a line every now and then."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from launcher_core.worker.record import record

sys.stdout.reconfigure(write_through=False, line_buffering=True)


@record
def main() -> None:
    here, _there = socket.socketpair()
    here.recv(1)


def go_on(signum: int, frame: object) -> None:
    while True:
        os.write(2, b"still here\n")
        time.sleep(0.1)


signal.signal(signal.SIGUSR1, go_on)
print("waits")
main()
