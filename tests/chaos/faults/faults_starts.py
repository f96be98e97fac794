"""Faults before a worker runs, or around it: nothing to start, nowhere to write, no memory, told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fault import ANY, NOBODY, Fault, Truth, one

LAUNCH = """
import sys
try:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
except ImportError:
    from launcher_core import LaunchConfig, elastic_launch
import told
{function}

if __name__ == "__main__":
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2, start_method="spawn", max_restarts=0,
                          rdzv_backend="c10d", rdzv_endpoint="localhost:0")
    told.launch(config, {entry}, {args})
"""
TOLD = '''
"""Launches from Python, and has the report as --report would."""
import os, sys
def launch(config, entry, args):
    if "torch" in sys.modules:
        from torch.distributed.launcher.api import elastic_launch
        return elastic_launch(config, entry)(*args)
    from launcher_core import launch
    from launcher_core.cli.tell import Teller
    from launcher_core.report_file import ReportFile
    tell = Teller(sys.stderr)
    prepared = launch.prepare(config, launch.command_of(entry, args))
    with ReportFile(os.environ["FAULT_REPORT"]).about(prepared, tell) as heard:
        launch.carry_out(prepared, tell, heard)
'''


def python(what: str, truth: Truth, function: str, entry: str = "work", args: str = "()") -> Fault:
    """Of a program that launches from Python."""
    script = LAUNCH.format(function=function, entry=entry, args=args)
    return Fault(what, truth, script, files=(("told.py", TOLD),), api=True)


@contextlib.contextmanager
def small_disk(stage: Any, size: str = "64k", flags: str = "rw") -> Iterator[None]:
    """A file system of its own at `small`, that has room for so much."""
    folder = Path(stage.folder, "small")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},{flags}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def full_disk(stage: Any) -> Iterator[None]:
    """The same, without room for a file or a folder."""
    with small_disk(stage, flags="nr_inodes=1"):
        yield


@contextlib.contextmanager
def read_only(stage: Any) -> Iterator[None]:
    """The same, mounted so that nobody can write."""
    with small_disk(stage, flags="ro"):
        yield


@contextlib.contextmanager
def taken_port(stage: Any) -> Iterator[None]:
    """Somebody else listens where the workers are to meet, and is no rendezvous."""
    with socket.create_server(("127.0.0.1", stage.port)):
        yield


@contextlib.contextmanager
def little_memory(stage: Any) -> Iterator[None]:
    """The launcher and its workers have 400 MB between them, in a control group of their own."""
    with memory_group(f"faults-{os.getpid()}", 400 << 20) as group:
        stage.wrapper = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs"), *stage.wrapper]
        yield


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """A control group for memory, of whichever version this machine has."""
    mount, file = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
    if not mount.is_dir():
        mount, file = Path("/sys/fs/cgroup"), "memory.max"
        (mount / "cgroup.subtree_control").write_text("+memory")
    group = mount / name
    group.mkdir()
    try:
        (group / file).write_text(str(limit))
        yield group
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        group.rmdir()


def stop_launcher(number: signal.Signals) -> Callable[[Any], None]:
    def act(stage: Any) -> None:
        stage.all_ready()
        stage.agents[0].signal(number)

    return act


WAITS = "ready()\nwait()\n"
FILLS = """
all_ready()
if rank == 1:
    blocks = []
    while True:
        blocks.append(bytearray(os.urandom(2**20)) * 8)
wait()
"""

FAULTS = (
    Fault("a script that is not there", one("start_failed", NOBODY, "nowhere.py"), program=("nowhere.py",)),
    Fault(
        "a module that is not there",
        one("start_failed", ANY, "No module named no_such_trainer"),
        options=("-m",),
        program=("no_such_trainer",),
    ),
    Fault("a folder without __main__.py", one("start_failed", ANY, "can't find '__main__' module"), program=(".",)),
    Fault(
        "a program that is not there",
        one("start_failed", NOBODY, "no-such-program"),
        options=("--no-python",),
        program=("no-such-program",),
    ),
    Fault(
        "a program that may not be executed",
        one("start_failed", NOBODY, "fault.py"),
        "wait()",
        options=("--no-python",),
        program=("./fault.py",),
    ),
    Fault(
        "a program whose interpreter is not there",
        one("start_failed", NOBODY, "/opt/none/python"),
        options=("--no-python",),
        program=("./train",),
        files=(("train", "#!/opt/none/python\n"),),
    ),
    Fault(
        "a program of another machine",
        one("start_failed", NOBODY, "train"),
        options=("--no-python",),
        program=("./train",),
        files=(("train", "\x7fELF nothing that runs here\n"),),
    ),
    Fault(
        "a folder for logs below a file",
        one("start_failed", NOBODY, "fault.py/logs"),
        "wait()",
        options=("--log-dir=fault.py/logs", "--redirects=3"),
    ),
    Fault(
        "a folder for logs on a file system that is read-only",
        one("start_failed", NOBODY, "Read-only file system"),
        "wait()",
        options=("--log-dir=small/logs", "--redirects=3"),
        around=read_only,
    ),
    Fault(
        "a folder for logs on a disk that is full before anything has started",
        one("start_failed", NOBODY, "No space left on device"),
        "wait()",
        options=("--log-dir=small/logs", "--redirects=3"),
        around=full_disk,
    ),
    Fault(
        "a disk for logs that a worker fills, then it raises",
        Truth(("exception", "exit_code"), 1, "no space"),
        """
        import sys
        all_ready()
        if rank == 1:
            for number in range(2000):
                try:
                    sys.stderr.write("x" * 99 + "\\n")
                except OSError:
                    pass
            raise ValueError("never seen")
        wait()
        """,
        options=("--log-dir=small/logs", "--redirects=3"),
        around=small_disk,
    ),
    Fault(
        "a disk for checkpoints that is full",
        one("exception", 2, "OSError: [Errno 28] No space left on device"),
        """
        if rank == 2:
            with open("small/step.pt", "wb", 0) as file:
                while True:
                    file.write(bytes(65536))
        wait()
        """,
        around=small_disk,
    ),
    Fault(
        "the port of the rendezvous is taken by another program",
        Truth(("start_failed", "rendezvous_failed"), NOBODY, "{port}"),
        WAITS,
        options=("--nnodes=2", "--node-rank=0", "--master-addr=127.0.0.1", "--master-port={port}"),
        around=taken_port,
        joined=False,
    ),
    Fault(
        "a port that a worker wants is taken",
        one("exception", 1, "OSError: [Errno 98] Address already in use"),
        """
        import socket
        all_ready()
        if rank == 1:
            first = socket.create_server(("127.0.0.1", 0))
            socket.create_server(first.getsockname())
        wait()
        """,
    ),
    Fault(
        "the other node does not come in time",
        one("rendezvous_failed", NOBODY, "1 of 2"),
        WAITS,
        options=(
            *("--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:{port}"),
            *("--rdzv-id=alone", "--rdzv-conf=join_timeout=1"),
        ),
        joined=False,
    ),
    Fault(
        "nobody hosts the rendezvous",
        one("rendezvous_failed", NOBODY, "{port}"),
        WAITS,
        options=(
            *("--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:{port}"),
            *("--rdzv-id=alone", "--rdzv-conf=is_host=false,join_timeout=1,timeout=1"),
        ),
        joined=False,
    ),
    Fault(
        "the name of the rendezvous's host does not exist",
        one("rendezvous_failed", NOBODY, "no-such-host.invalid"),
        WAITS,
        options=(
            *("--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=no-such-host.invalid:{port}"),
            *("--rdzv-id=alone", "--rdzv-conf=join_timeout=1,timeout=1"),
        ),
        joined=False,
    ),
    Fault(
        "out of memory in a control group",
        one("out_of_memory", 1, "out of memory"),
        FILLS,
        around=little_memory,
    ),
    python(
        "a return value that cannot be pickled",
        Truth(("unpicklable", "exception"), ANY, "pickle"),
        "import threading\ndef work():\n    return threading.Lock()",
    ),
    python(
        "a return value that cannot be pickled, of one rank",
        Truth(("unpicklable", "exception"), 1, "pickle"),
        "import os\ndef work():\n    return (lambda: 1) if os.environ['RANK'] == '1' else 1",
    ),
    python(
        "a function that cannot be pickled",
        Truth(("start_failed", "unpicklable"), NOBODY, "pickle"),
        "work = lambda: 1",
    ),
    python(
        "an exception of a function",
        one("exception", 1, "ValueError: 1 is not even"),
        "import os, time\ndef work(n):\n    if os.environ['RANK'] == '1':\n"
        "        raise ValueError(f'{n} is not even')\n    time.sleep(60)",
        args="(1,)",
    ),
    python(
        "a function that ends its process",
        one("exit_code", 0, "exit code 7"),
        "import os, time\ndef work():\n    if os.environ['RANK'] == '0':\n        os._exit(7)\n    time.sleep(60)",
    ),
    Fault(
        "the launcher is told to stop",
        one("stopped", NOBODY, "SIGTERM"),
        WAITS,
        acts=stop_launcher(signal.SIGTERM),
    ),
    Fault(
        "the machine is wanted back, which a signal says",
        one("preempted", NOBODY, "SIGUSR1"),
        WAITS,
        options=("--preempt-signal=SIGUSR1",),
        acts=stop_launcher(signal.SIGUSR1),
    ),
    Fault(
        "the machine is wanted back, which a file says",
        one("preempted", NOBODY, "taken"),
        WAITS,
        options=("--preempt-file=taken",),
        acts=lambda stage: (stage.all_ready(), Path(stage.folder, "taken").touch()),
    ),
    Fault("Ctrl-C", one("stopped", NOBODY, "SIGINT"), WAITS, acts=stop_launcher(signal.SIGINT)),
)
