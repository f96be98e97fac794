"""Faults whose consequences look like causes: a worker goes, and its peers lose their connections to it."""

from __future__ import annotations

from fault import Fault, Truth, one

PEERS = """
import os, signal, sys, time, threading
peers = connect(hub=2)
if rank != 2:
    {other}
"""
RESETS = "receive(peers[0])"


def echo(what: str, truth: Truth, root: str, other: str = RESETS) -> Fault:
    """Rank 2 does `root` when all others are connected to it; they do `other`, most often of the lost connection."""
    lines = "".join(f"    {line}\n" if line else "" for line in other.strip().splitlines())[4:]
    return Fault(what, truth, PEERS.format(other=lines) + root.strip("\n") + "\n", workers=4)


RAISES = 'raise ValueError("shard 2 is empty")'
SLOW = """
import atexit
def close():
    for peer in peers:
        peer.close()
    time.sleep({seconds})
atexit.register(close)
raise ValueError("shard 2 is empty")
"""
LATE = """
import atexit
atexit.register(time.sleep, 0.6)
raise ValueError("shard 2 is empty")
"""
WRAPPED = """
try:
    receive(peers[0])
except ConnectionError as error:
    raise RuntimeError(f"step 12 of rank {rank} failed") from error
"""
ENDS = """
if not peers[0].recv(1):
    raise EOFError("unexpected end of stream in all_reduce")
"""
GLOO = """
if not peers[0].recv(1):
    raise RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.4]:5210")
"""
NCCL = """
peers[0].recv(1)
sys.stderr.write("[rank%d] NCCL WARN Call to recv from 10.0.0.4 failed : Connection reset by peer\\n" % rank)
sys.stderr.write("terminate called after throwing an instance of 'c10::DistBackendError'\\n")
sys.stderr.write("  what():  NCCL error: remote process exited or there was a network error\\n")
os.abort()
"""
TIMES_OUT = """
peers[0].settimeout(0.2)
peers[0].recv(1)
"""
TORCH_TIMES_OUT = """
time.sleep(0.2)
where = "[../third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78]"
raise RuntimeError(f"{where} Timed out waiting 200ms for recv operation to complete")
"""
EMPTY = "ValueError: shard 2 is empty"

FAULTS = (
    echo("rank 2 raises, its peers lose the connection", one("exception", 2, EMPTY), RAISES),
    echo("its peers die of it before it has ended", one("exception", 2, EMPTY), SLOW.format(seconds=0.3)),
    echo(
        "it has closed its connections, and takes five seconds to end",
        one("exception", 2, EMPTY),
        SLOW.format(seconds=5),
    ),
    echo("rank 2 exits with 3, its peers lose the connection", one("exit_code", 2, "exit code 3"), "os._exit(3)"),
    echo(
        "rank 2 exits with 1 and no word, its peers say gloo's", one("exit_code", 2, "exit code 1"), "os._exit(1)", GLOO
    ),
    echo(
        "rank 2 is killed, its peers lose the connection",
        one("signal", 2, "SIGKILL"),
        "os.kill(os.getpid(), signal.SIGKILL)",
    ),
    echo(
        "rank 2 crashes, its peers say gloo's",
        Truth(("segmentation_fault", "signal"), 2, "SIGSEGV"),
        "import ctypes\nctypes.string_at(0)",
        GLOO,
    ),
    echo("rank 2 raises, its peers abort as NCCL's watchdog does", one("exception", 2, EMPTY), RAISES, NCCL),
    echo("they abort, as that does, before it has ended", one("exception", 2, EMPTY), SLOW.format(seconds=0.3), NCCL),
    echo("its peers raise another exception from the lost connection", one("exception", 2, EMPTY), RAISES, WRAPPED),
    echo("they raise it before it has ended", one("exception", 2, EMPTY), SLOW.format(seconds=0.3), WRAPPED),
    echo("its peers read to the end of a stream", one("exception", 2, EMPTY), RAISES, ENDS),
    echo("they read to the end before it has ended", one("exception", 2, EMPTY), SLOW.format(seconds=0.3), ENDS),
    echo("its peers run into a timeout before it has ended", one("exception", 2, EMPTY), LATE, TIMES_OUT),
    echo("they say so in the words of torch", one("exception", 2, EMPTY), LATE, TORCH_TIMES_OUT),
    echo(
        "its peers write to a broken pipe",
        one("exception", 2, EMPTY),
        RAISES,
        "while True:\n    peers[0].sendall(bytes(1000))\n    time.sleep(0.01)",
    ),
    Fault(
        "a chain: one loses the connection to the next that lost its own",
        one("exception", 0, "ValueError: nobody but me"),
        """
        if rank == 0:
            (right,) = serve("right", 1)
            raise ValueError("nobody but me")
        if rank == 1:
            (right,) = serve("left", 1)
            receive(reach("right"))
        receive(reach("left"))
        """,
        workers=3,
    ),
    Fault(
        "two raise, half a second apart, the first to raise is the first to blame",
        one("exception", 2, "ValueError: first"),
        """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        all_ready()
        if rank == 2:
            raise ValueError("first")
        if rank == 0:
            time.sleep(0.5)
            raise KeyError("second")
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        wait()
        """,
    ),
    Fault(
        "one raises, the others raise something else when they are told to stop",
        one("exception", 1, "ValueError: the cause"),
        """
        import signal
        def told(*_):
            raise RuntimeError("step was interrupted")
        signal.signal(signal.SIGTERM, told)
        all_ready()
        if rank == 1:
            raise ValueError("the cause")
        wait()
        """,
    ),
    Fault(
        "one loses its connection to a service, another has handled and logged an exception",
        one("exception", 0, "ConnectionResetError"),
        """
        import logging, socket
        if rank == 1:
            try:
                raise OSError("shard 3 is not there yet")
            except OSError:
                logging.exception("will be tried again")
        ours, service = socket.socketpair()
        all_ready()
        if rank == 0:
            service.close()
            receive(ours)
        wait()
        """,
    ),
    Fault(
        "one exits, the others exit with a code of their own when they are told to stop",
        one("exit_code", 2, "exit code 5"),
        """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(99))
        all_ready()
        if rank == 2:
            sys.exit(5)
        wait()
        """,
    ),
    Fault(
        "the same failure again after each restart",
        one("exception", 1, "ValueError: shard 1"),
        """
        all_ready()
        if rank == 1:
            raise ValueError("shard 1")
        wait()
        """,
        options=("--max-restarts=2",),
    ),
    Fault(
        "another failure after a restart",
        one("exit_code", 2, "exit code 5"),
        """
        import sys
        all_ready()
        if rank == 0 and attempt == 0:
            raise ValueError("only once")
        if rank == 2 and attempt == 1:
            sys.exit(5)
        wait()
        """,
        options=("--max-restarts=1",),
    ),
)
