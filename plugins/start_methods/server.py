"""The fork server's process: forks a worker for each question, and keeps the dead until it is told to let go.

One question at a time, from one agent, each answered at once. It starts no thread, and imports nothing of the
user's: its memory and its environment are as they were when it began.
"""

from __future__ import annotations

import errno
import os
import pickle
import struct
import sys
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, NoReturn

from launcher_core.runtime import system
from launcher_plugins.start_methods import bootstrap, forking, parcel

if TYPE_CHECKING:
    import socket

QUESTION = struct.Struct("!ii")
"""What (START, STATUS, REAP), and the pid it is about. Descriptors of a new worker come with START."""
ANSWER = struct.Struct("!ii")
"""The error number or 0, and the pid or the exit status."""
START, STATUS, REAP = range(3)
CONTROL = 3
"""The descriptor that questions come by."""
MOST_DESCRIPTORS = 253  # SCM_MAX_FD of Linux


def main(file: IO[bytes], header: dict[str, Any]) -> NoReturn:
    """Answer until the agent closes its end, then exit: children that still run are killed by that."""
    import socket

    system.parent_death()(header["parent"])
    file.close()
    import_module("multiprocessing.spawn")  # once, for all the workers to come
    with socket.socket(fileno=CONTROL) as control:
        control.set_inheritable(False)
        while _answer(control):
            pass
    sys.exit(0)


def _answer(control: socket.socket) -> bool:
    import socket

    try:
        question, fds, _, _ = socket.recv_fds(control, QUESTION.size, MOST_DESCRIPTORS)
    except ConnectionError:  # the agent was killed before it had read an answer
        return False
    if len(question) != QUESTION.size:
        return False
    what, pid = QUESTION.unpack(question)
    try:
        answer = (0, _do(what, pid, fds))
    except OSError as error:
        print(f"fork server: {error}", file=sys.stderr)
        answer = (error.errno or errno.EIO, 0)
    finally:
        for fd in fds:
            os.close(fd)
    try:
        control.sendall(ANSWER.pack(*answer))
    except ConnectionError:
        return False
    return True


def _do(what: int, pid: int, fds: list[int]) -> int:
    if what == START:
        return _start(fds)
    if what == REAP:
        system.reap(pid)
        return 0
    status = system.exit_status(pid)
    if status is None:
        raise ChildProcessError(errno.ECHILD, f"process {pid} still runs")
    return status


def _start(fds: list[int]) -> int:
    header = _header(fds[parcel.PARCEL])

    def load() -> tuple[Any, tuple[Any, ...]]:
        file = open(parcel.PARCEL, "rb")  # noqa: SIM115 - unpack closes it
        pickle.load(file)  # the header
        return parcel.unpack(file)

    setup = forking.Setup(fds, header["env"], lambda: bootstrap.run(load, header["name"]))
    with system.running_on(header["cpus"]):  # those of the thread that asks; this process has its own
        return forking.fork(setup)


def _header(fd: int) -> dict[str, Any]:
    with open(fd, "rb", closefd=False) as file:
        header: dict[str, Any] = pickle.load(file)
    os.lseek(fd, 0, os.SEEK_SET)
    return header
