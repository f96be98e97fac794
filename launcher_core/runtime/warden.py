"""The warden: a tiny process that ends the workers when this one is gone and can no longer do it.

It reads lines, "+PGID" and "-PGID", from a socket whose other end only the agent holds; "." announces a clean end.
When the file ends it kills the groups it still knows, and, unless nothing was left to do, every process that carries
the mark: those that left their group, and one that was being started at that moment and was not announced yet. (A
child that has not executed its program yet still holds the socket: the file cannot end before its mark is in place.)

It is a shell where there is one: two megabytes, started in a millisecond. It decides nothing, and it never signals
a group that was released.
"""

from __future__ import annotations

import os
from contextlib import suppress
from signal import SIGKILL
from typing import TYPE_CHECKING

from launcher_core.runtime import system

if TYPE_CHECKING:
    import socket

SHELL = "/bin/sh"
MARK = "LAUNCHER_AGENT"
"""Environment variable by which everything that a worker started can be told, wherever it went."""
END_WITHIN = 5.0
"""Seconds. With something to kill the warden looks through all processes a few times; else it ends at once."""

_IN_SH = r"""
trap '' TERM INT HUP QUIT
cd /
known=' ' clean=
while read -r order; do
    id=${order#?}
    case $order in
        +*) known="$known$id " ;;
        -*) case $known in *" $id "*) known="${known%%" $id "*} ${known#*" $id "}" ;; esac ;;
        .) clean=yes ;;
    esac
done
[ "$clean" ] && [ "$known" = ' ' ] && exit
for id in $known; do kill -9 "-$id"; done
# Twice, because nothing is seen of a process in the middle of executing its program.
unseen=
for look in 1 2 3 4 5 6 7 8 9; do
    found=$(grep -lzsxF "$1" /proc/[0-9]*/environ)
    if [ "$found" ]; then
        unseen=
        for file in $found; do
            id=${file#/proc/}
            kill -9 "${id%/environ}"
        done
    elif [ "$unseen" ]; then
        exit
    else
        unseen=yes
        sleep 0.1
    fi
done
"""
_IN_PYTHON = r"""
import glob, os, signal, sys, time
for name in "TERM", "INT", "HUP", "QUIT":
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
os.chdir("/")
known, clean = set(), False
for order in sys.stdin:
    if order == ".\n":
        clean = True
    elif order.endswith("\n"):
        (known.add if order[0] == "+" else known.discard)(int(order[1:]))
if clean and not known:
    sys.exit()
def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
for id in known:
    kill(-id)
unseen = False
for look in range(9):
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                if sys.argv[1].encode() in file.read().split(b"\0"):
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    if not found:
        if unseen:
            break
        time.sleep(0.1)
    unseen = not found
    for pid in found:
        kill(pid)
"""


class Warden:
    """The agent's end of its warden. Nothing here blocks or raises but `start` and, for a moment, `close`.

    The order matters: `guard` a group right after its leader was started; `release` it when the group was
    killed and before its leader is reaped, because from then on its number may become another's.
    """

    def __init__(self, shell: str = SHELL) -> None:
        self.mark = {MARK: f"{os.getpid()}-{os.urandom(8).hex()}"}
        """To be in the environment of every worker: the warden finds those by it that it was not told of."""
        self._shell = shell
        self._guarded: set[int] = set()
        self._unsent = bytearray()
        self._process: tuple[int, int] | None = None
        self._line: socket.socket | None = None

    def start(self) -> None:
        """Start the process. Raises OSError when neither a shell nor Python can be started."""
        import socket

        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = self._spawned(theirs.fileno())
        except OSError:
            ours.close()
            raise
        self._line = ours

    def guard(self, pgid: int) -> None:
        """Have the group killed if this process ends before it is released."""
        self._guarded.add(pgid)
        self._say(b"+%d" % pgid)

    def release(self, pgid: int) -> None:
        """Have the group left alone from now on."""
        self._guarded.discard(pgid)
        self._say(b"-%d" % pgid)

    def close(self) -> None:
        """End the warden. If a group is still guarded then it goes, and whatever else carries the mark."""
        if self._line is None or self._process is None:
            return
        with suppress(OSError):
            self._line.settimeout(END_WITHIN)
            self._line.sendall(self._unsent + b".\n")
            self._line.shutdown(1)  # SHUT_WR: a fork of this process may hold the socket, too
        self._line.close()
        system.end(*self._process, END_WITHIN)
        self._line = self._process = None

    def _spawned(self, line: int) -> tuple[int, int]:
        """The pid of a new warden that reads this descriptor, and one that tells of its end."""
        nothing = os.open(os.devnull, os.O_RDWR)
        try:
            pid = self._spawn((line, nothing, nothing))
            try:
                return pid, system.exit_fd(pid)
            except OSError:
                system.kill_group(pid, SIGKILL)
                os.waitpid(pid, 0)
                raise
        finally:
            os.close(nothing)

    def _spawn(self, fds: tuple[int, int, int]) -> int:
        (mark,) = (f"{name}={value}" for name, value in self.mark.items())
        env = {"PATH": os.defpath}
        try:
            # Not by the launcher's name: `pkill -9 -f launcher` is meant for the agent, and must leave this one.
            return system.spawn(self._shell, [self._shell, "-c", _IN_SH, "warden", mark], env, fds)
        except OSError:
            import sys

            return system.spawn(sys.executable, [sys.executable, "-I", "-S", "-c", _IN_PYTHON, mark], env, fds)

    def _say(self, order: bytes) -> None:
        self._unsent += order + b"\n"
        try:
            self._send()
        except BlockingIOError:
            pass  # a stopped warden: said the next time
        except OSError:
            self._replace()

    def _send(self) -> None:
        import socket

        if self._line is not None:
            quietly = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
            del self._unsent[: self._line.send(self._unsent, quietly)]

    def _replace(self) -> None:
        """Start another warden, which knows the same groups, in place of one that has ended."""
        if self._process is not None and self._line is not None:
            self._line.close()
            system.end(*self._process, 0)
            self._line = self._process = None
        self._unsent = bytearray(b"".join(b"+%d\n" % pgid for pgid in self._guarded))
        with suppress(OSError):
            self.start()
            self._send()
