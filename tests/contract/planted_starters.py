"""Start methods, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import os
import subprocess

import pytest

from launcher_core.testing import StartMethodContract


class Child:
    """A sound one."""

    def __init__(self, process):
        self.process = process
        self.pid = process.pid
        self.fd = os.pidfd_open(process.pid)

    def exit_code(self):
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status

    def value(self):
        return None

    def reap(self):
        self.process.wait()
        os.close(self.fd)


class Starter:
    """A sound one: commands, by subprocess."""

    child = Child
    session = True
    close_fds = True

    def start(self, command, env, streams):
        if not command.argv:
            raise ValueError("starts commands only")
        options = {"start_new_session": self.session, "close_fds": self.close_fds, "preexec_fn": self.prepare}
        descriptors = dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))
        return self.child(subprocess.Popen(command.argv, env=self.env(env), **descriptors, **options))

    def env(self, env):
        return env

    @staticmethod
    def prepare():
        import signal

        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for signum in (signal.SIGHUP, signal.SIGUSR1, signal.SIGINT, signal.SIGQUIT):
            signal.signal(signum, signal.SIG_DFL)

    def close(self):
        pass


class Kit(StartMethodContract):
    kind = Starter
    capabilities = ("COMMANDS",)
    seconds = 1.0
    caught_by = ""

    @pytest.fixture
    def starter(self):
        return self.kind()


class TestSound(Kit):
    seconds = 10.0


class TestDeclaresNothing(Kit):
    capabilities = ()
    caught_by = "test_it_declares_what_it_starts"


class TestStatusAsTheSystemHasIt(Kit):
    """Does not decode what wait gives."""

    caught_by = "test_an_exit_status_is_told_as_it_is"

    class kind(Starter):
        class child(Child):
            def exit_code(self):
                return super().exit_code() << 8


class TestSignalsAsShellsSayIt(Kit):
    caught_by = "test_a_signal_that_ended_a_worker_is_told_as_its_number_below_0"

    class kind(Starter):
        class child(Child):
            def exit_code(self):
                code = super().exit_code()
                return code if code >= 0 else 128 - code


class TestReapsWhenAsked(Kit):
    caught_by = "test_a_child_stays_a_zombie_until_it_is_reaped"

    class kind(Starter):
        class child(Child):
            def exit_code(self):
                return self.process.wait()


class TestAlwaysReadable(Kit):
    caught_by = "test_a_worker_that_runs_is_not_readable"

    class kind(Starter):
        class child(Child):
            def __init__(self, process):
                super().__init__(process)
                os.close(self.fd)
                self.fd = os.open(os.devnull, os.O_RDONLY)


class TestNoSession(Kit):
    caught_by = "test_a_worker_leads_a_session_of_its_own"

    class kind(Starter):
        session = False

        @staticmethod
        def prepare():
            os.setpgid(0, 0)


class TestOwnEnvironment(Kit):
    """Adds the launcher's own environment."""

    caught_by = "test_a_worker_has_exactly_the_environment_given"

    class kind(Starter):
        def env(self, env):
            return {**os.environ, "LEAKED": "1", **env}


class TestPassesDescriptorsOn(Kit):
    caught_by = "test_a_worker_inherits_no_other_descriptor"

    class kind(Starter):
        close_fds = False


class TestKeepsSignals(Kit):
    caught_by = "test_a_worker_has_default_signals"

    class kind(Starter):
        prepare = None


class TestStartsLater(Kit):
    """Has a shell look for the program."""

    caught_by = "test_a_program_that_is_not_there_is_an_error_at_once"

    class kind(Starter):
        def start(self, command, env, streams):
            return super().start(
                command._replace(argv=("/bin/sh", "-c", 'exec "$@"', "sh", *command.argv)), env, streams
            )


class TestLeavesAnEndOpen(Kit):
    caught_by = "test_nothing_is_left_when_all_are_reaped_and_it_is_closed"

    class kind(Starter):
        class child(Child):
            def reap(self):
                self.process.wait()


class TestMixesStreams(Kit):
    caught_by = "test_a_worker_has_the_streams_given"

    class kind(Starter):
        def start(self, command, env, streams):
            return super().start(command, env, streams._replace(stderr=streams.stdout))
