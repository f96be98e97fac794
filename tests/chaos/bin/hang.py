"""A worker that adds numbers up with its peers, over and over, until one of them hangs in a way that it was told.

    hang.py KIND CULPRIT PEERS

KIND is a function below; CULPRIT the rank that hangs after some rounds. PEERS is `block`, or `spin` for workers that
wait for each other busily, as some libraries do.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

RANK, WORLD = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
LIBC = ctypes.CDLL(None, use_errno=True)
FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
STEPS = 20


class Group:
    """The workers of this job, each connected to rank 0 by a socket in the current directory."""

    def __init__(self, *, spin: bool) -> None:
        self.spin = spin
        path = f"peers-{os.environ['TORCHELASTIC_RESTART_COUNT']}"
        if RANK == 0:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"{path}.new")
            listener.listen(WORLD)
            os.rename(f"{path}.new", path)
            self.lines = [listener.accept()[0] for _ in range(WORLD - 1)]
        else:
            line = socket.socket(socket.AF_UNIX)
            while not os.path.exists(path):
                select.select([], [], [], 0.01)
            line.connect(path)
            self.lines = [line]

    def receive(self, line: socket.socket) -> int:
        line.setblocking(not self.spin)
        while True:
            try:
                return line.recv(1)[0]
            except BlockingIOError:
                continue

    def send(self, line: socket.socket, number: int) -> None:
        line.setblocking(True)
        line.send(bytes([number % 256]))

    def all_reduce(self, number: int) -> int:
        """The sum of all numbers."""
        if RANK == 0:
            number = sum([number, *(self.receive(line) for line in self.lines)])
            for line in self.lines:
                self.send(line, number)
            return number
        self.send(self.lines[0], number)
        return self.receive(self.lines[0])


# --- ways to hang ----------------------------------------------------------------------------------------


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def deadlock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def thread_deadlock() -> None:
    one, two = threading.Lock(), threading.Lock()
    both = threading.Barrier(2)

    def other() -> None:
        with two:
            both.wait()
            one.acquire()

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    with one:
        both.wait()
        two.acquire()


def futex() -> None:
    word = ctypes.c_int(0)
    LIBC.syscall(FUTEX, ctypes.byref(word), 0, 0, None, None, 0)


def infinite_loop() -> None:
    while True:
        pass


def fifo() -> None:
    path = f"fifo-{RANK}"
    os.mkfifo(path)
    with open(path, "rb+", buffering=0) as both_ends:
        both_ends.read(1)


def fifo_without_writer() -> None:
    path = f"alone-{RANK}"
    os.mkfifo(path)
    open(path, "rb").close()


def wrong_peer() -> None:
    """Waits for a message that nobody sends."""
    here, _there = socket.socketpair()
    here.recv(1)


def sleep() -> None:
    time.sleep(1e6)


def sleeps() -> None:
    while not Path("never").exists():
        time.sleep(0.1)


def native_with_gil() -> None:
    """Native code that keeps the interpreter's lock, beside a thread that wants it."""
    threading.Thread(target=infinite_loop, daemon=True).start()
    ctypes.PyDLL(None).sleep(1_000_000)


def uninterruptible() -> None:
    """A child that shares this process's memory until it has opened a FIFO that nobody opens."""
    path = f"spawn-{RANK}"
    os.mkfifo(path)
    os.posix_spawn("/bin/true", ["true"], {}, file_actions=[(os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0)])


def child() -> None:
    subprocess.run(["sleep", "1000"], check=False)


KINDS = (stopped, deadlock, thread_deadlock, futex, infinite_loop, fifo, fifo_without_writer, wrong_peer, sleep,
         sleeps, native_with_gil, uninterruptible, child)  # fmt: skip


def main() -> None:
    kind, culprit, peers = sys.argv[1:]
    hang = {one.__name__: one for one in KINDS}[kind]
    group = Group(spin=peers == "spin")
    step = 0
    while True:
        total = group.all_reduce(step)
        assert total == step * WORLD % 256 or RANK == 0, total
        step = (step + 1) % 7
        if step == 6 and int(culprit) == RANK and time.monotonic() - BEGAN > 0.5:
            hang()
        time.sleep(0.01)


BEGAN = time.monotonic()

if __name__ == "__main__":
    if os.environ.get("RECORDED") == "1":
        from launcher_core.worker.record import record

        record(main)()
    else:
        main()
