"""The warden: a tiny process that ends the worker groups when this one is gone and can no longer do it.

It reads lines, "+PGID" and "-PGID", from a socket whose other end only the agent holds. At the end of file it
kills whatever it still knows, and exits. It is a shell where there is one: one megabyte, started in one
millisecond. It decides nothing, and it never signals a group that was released.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher_core.runtime import system

if TYPE_CHECKING:
    import socket

SHELL = "/bin/sh"
END_WITHIN = 5.0
"""Seconds. With groups still to kill the warden first looks through all processes; else it ends at once."""

_IN_SH = r"""
trap '' TERM INT HUP QUIT
cd /
known=' '
while read -r order; do
    id=${order#?}
    case $order in
        +*) known="$known$id " ;;
        -*) case $known in *" $id "*) known="${known%%" $id "*} ${known#*" $id "}" ;; esac ;;
    esac
done
[ "$known" = ' ' ] && exit
# Those that left the group, though not the family: by their parent, or by the session that they stayed in.
doomed=$known found=yes
while [ "$found" ]; do
    found=
    for stat in /proc/[0-9]*/stat; do
        read -r line <"$stat" || continue
        pid=${line%% *}
        case $doomed in *" $pid "*) continue ;; esac
        set -- ${line##*) }
        case $doomed in *" $2 "* | *" $4 "*) doomed="$doomed$pid " found=yes ;; esac
    done
done
for id in $known; do kill -9 "-$id"; done
for id in $doomed; do kill -9 "$id"; done
"""
_IN_PYTHON = r"""
import os, signal, sys
for name in "TERM", "INT", "HUP", "QUIT":
    signal.signal(getattr(signal, "SIG" + name), signal.SIG_IGN)
known = set()
for order in sys.stdin:
    if order.endswith("\n"):
        (known.add if order[0] == "+" else known.discard)(int(order[1:]))
for id in known:
    try:
        os.killpg(id, signal.SIGKILL)
    except OSError:
        pass
"""


class Warden:
    """The agent's end of its warden. Nothing here blocks or raises but `start` and, for a moment, `close`.

    The order matters: `guard` a group right after its leader was started; `release` it when the group was
    killed and before its leader is reaped, because from then on its number may become another's.
    """

    def __init__(self, shell: str = SHELL) -> None:
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
            nothing = os.open(os.devnull, os.O_RDWR)
            try:
                pid = self._spawn((theirs.fileno(), nothing, nothing))
            finally:
                os.close(nothing)
            self._process = (pid, system.exit_fd(pid))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._line = ours

    def guard(self, pgid: int) -> None:
        """Have the group killed if this process ends before it is released."""
        self._guarded.add(pgid)
        self._say(f"+{pgid}\n")

    def release(self, pgid: int) -> None:
        """Have the group left alone from now on."""
        self._guarded.discard(pgid)
        self._say(f"-{pgid}\n")

    def close(self) -> None:
        """End the warden, and with it every group that is still guarded."""
        if self._line is None or self._process is None:
            return
        with suppress(OSError):
            self._line.settimeout(END_WITHIN)
            self._line.sendall(self._unsent)
            self._line.shutdown(1)  # SHUT_WR: a fork of this process may hold the socket, too
        self._line.close()
        system.end(*self._process, END_WITHIN)
        self._line = self._process = None

    def _spawn(self, fds: tuple[int, int, int]) -> int:
        try:
            return system.spawn(self._shell, [self._shell, "-c", _IN_SH, "launcher-warden"], {}, fds)
        except OSError:
            import sys

            return system.spawn(sys.executable, [sys.executable, "-I", "-S", "-c", _IN_PYTHON], {}, fds)

    def _say(self, order: str) -> None:
        self._unsent += order.encode()
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
        self._unsent = bytearray("".join(f"+{pgid}\n" for pgid in self._guarded), "ascii")
        with suppress(OSError):
            self.start()
            self._send()
