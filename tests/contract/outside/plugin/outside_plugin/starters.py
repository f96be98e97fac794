"""Start methods. The entry points name classes: the launcher calls them, and what they return is the plugin."""

from __future__ import annotations

import os
import signal
import subprocess

from launcher_core import hookimpl
from outside_plugin.calls import note


class Popening:
    """Start method `outside-popen`: commands, by subprocess. Says so in the worker's environment."""

    @hookimpl
    def launcher_declare(self):
        return {"capabilities": ["COMMANDS"]}

    @hookimpl
    def launcher_make_starter(self):
        return self

    def start(self, command, env, streams):
        if not command.argv:
            raise ValueError("outside-popen starts commands, and this is none")
        process = subprocess.Popen(
            command.argv,
            env={**env, "STARTED_BY": "outside-popen"},
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            start_new_session=True,
            preexec_fn=reset_signals,
        )
        return PopenChild(process)

    def close(self):
        note("starter closed")


def reset_signals():
    """Undo what the launcher does about signals, in the worker."""
    for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


class PopenChild:
    """A Child by shape alone."""

    def __init__(self, process):
        self._process = process
        self.pid = process.pid
        self.fd = os.pidfd_open(process.pid)

    def exit_code(self):
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def value(self):
        return None

    def reap(self):
        self._process.wait()
        os.close(self.fd)


class Failing(Popening):
    """Start method `outside-failing`: has a defect."""

    def start(self, command, env, streams):
        raise RuntimeError("this start method has a defect")
