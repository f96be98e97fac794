"""The contract of what starts workers: how they are born, how they end, and what is left of them."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher_core.model.capability import Capability
from launcher_core.model.job import Command, Streams
from launcher_core.testing import started
from launcher_core.testing.contract import Contract

ENV = {"PATH": os.environ.get("PATH", os.defpath), "RANK": "7", "LC_ALL": "C.UTF-8", "EMPTY": ""}
USUAL = 0x7FFFFFFF
"""The signals that are no real-time signals: the C library keeps some of those to itself."""
WORKERS = 8
CODES = [0, 1, 3, 255]
SIGNALS = [signal.SIGTERM, signal.SIGKILL]


class Ended(NamedTuple):
    """One worker from beginning to end."""

    code: int
    out: str
    err: str
    value: Any


class StartMethodContract(Contract):
    """A plugin whose `launcher_make_starter` returns a Starter.

    Fixture `starter`: a new one; the kit closes it. `plugin` or `capabilities` says whether it starts COMMANDS,
    FUNCTIONS or both. The environment of a worker may have `added` to what is given, and nothing else.
    """

    added: Mapping[str, str] = {}
    """Variables that this start method adds to a worker's environment, where it does."""

    @pytest.fixture
    def starter(self) -> Any:
        """A new Starter."""
        raise NotImplementedError("give a fixture starter: what launcher_make_starter returns")

    @pytest.fixture
    def start(self, starter: Any) -> Iterator[Callable[..., Any]]:
        """Starts a worker; those that still run after the test are killed, and the starter is closed."""
        children: list[Any] = []

        def start(command: Command, env: Mapping[str, str] = ENV, streams: Streams | None = None) -> Any:
            with open(os.devnull, "r+b") as null:
                child = starter.start(command, env, streams or Streams(null.fileno(), null.fileno(), null.fileno()))
            children.append(child)
            return child

        yield start
        for child in children:
            self.end(child)
        starter.close()

    @pytest.fixture
    def run(self, start: Callable[..., Any], tmp_path: Path) -> Callable[..., Ended]:
        """Starts a worker, waits for it, and reads what it wrote."""

        def run(command: Command, stdin: int | None = None) -> Ended:
            paths = [tmp_path / name for name in ("stdin", "stdout", "stderr")]
            paths[0].write_text("")
            with open(paths[0], "rb") as null, open(paths[1], "wb") as out, open(paths[2], "wb") as err:
                streams = Streams(null.fileno() if stdin is None else stdin, out.fileno(), err.fileno())
                child = start(command, ENV, streams)
            code = self.wait(child)
            return Ended(code, paths[1].read_text(), paths[2].read_text(), child.value())

        return run

    def wait(self, child: Any) -> int:
        """The exit code of a worker that ends by itself."""
        assert readable(child.fd, self.seconds), "a child's `fd` has to become readable once it has exited"
        code = child.exit_code()
        assert isinstance(code, int), f"exit_code has to return a number, and returned {code!r}"
        return code

    def end(self, child: Any) -> None:
        """Kill and reap a worker that has not been reaped."""
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
            readable(child.fd, self.seconds)
            child.reap()

    def calling(self, function: Callable[..., Any], *args: Any) -> Command:
        """A command for a function; the test is skipped where the method starts none."""
        self.need(Capability.FUNCTIONS)
        return Command(function=function, args=args, name=function.__name__)

    def shell(self, script: str) -> Command:
        """A command for a script; the test is skipped where the method starts none."""
        self.need(Capability.COMMANDS)
        return Command(argv=("/bin/sh", "-c", script), name="sh")

    def either(self, script: str, function: Callable[..., Any], *args: Any) -> Command:
        """What the method can start of the two."""
        commands = self.can(Capability.COMMANDS)
        return self.shell(script) if commands else self.calling(function, *args)

    # --- what it says of itself --------------------------------------------------------------------------

    def test_it_declares_what_it_starts(self) -> None:
        can = self.can(Capability.COMMANDS) or self.can(Capability.FUNCTIONS)
        assert can, "launcher_declare has to name COMMANDS, FUNCTIONS or both; set `plugin` or `capabilities` here"

    # --- how workers end ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("code", CODES)
    def test_an_exit_status_is_told_as_it_is(self, run: Callable[..., Ended], code: int) -> None:
        ended = run(self.either(f"exit {code}", started.leave, code))
        assert ended.code == code, f"exit_code has to be the worker's exit status, {code}"

    @pytest.mark.parametrize("signum", SIGNALS)
    def test_a_signal_that_ended_a_worker_is_told_as_its_number_below_0(
        self, run: Callable[..., Ended], signum: signal.Signals
    ) -> None:
        ended = run(self.either(f"kill -{signum} $$", started.die, signum))
        assert ended.code == -signum, f"exit_code has to be minus the number of the signal that ended it, {-signum}"

    def test_a_worker_that_runs_is_not_readable(self, start: Callable[..., Any]) -> None:
        child = start(self.either("exec sleep 60", started.wait_for_ever))
        assert not readable(child.fd, 0.1), "a child's `fd` must not be readable while it runs"
        os.killpg(child.pid, signal.SIGKILL)
        assert self.wait(child) == -signal.SIGKILL, "a signal to the process group of a child's pid has to reach it"

    def test_a_child_stays_a_zombie_until_it_is_reaped(self, start: Callable[..., Any]) -> None:
        child = start(self.either("exit 5", started.leave, 5))
        codes = [self.wait(child), child.exit_code()]
        assert codes == [5, 5], "exit_code has to give the exit status as often as it is asked"
        assert exists(child.pid), "exit_code must not reap: the group's id would be given to others"
        fd = child.fd
        child.reap()
        assert not exists(child.pid), "reap has to let go of the child"
        assert not is_fd(fd), "reap has to close the child's descriptor"

    def test_workers_run_side_by_side(self, start: Callable[..., Any]) -> None:
        children = [start(self.either(f"exit {number}", started.leave, number)) for number in range(WORKERS)]
        codes = [self.wait(child) for child in children]
        assert codes == list(range(WORKERS)), "every child has to have its own exit status"
        assert len({child.pid for child in children}) == WORKERS, "every child has to have a pid of its own"

    # --- values ------------------------------------------------------------------------------------------

    def test_a_command_has_no_value(self, run: Callable[..., Ended]) -> None:
        assert run(self.shell("echo 1")).value is None, "value has to return None for a command"

    def test_a_function_has_its_value(self, run: Callable[..., Ended]) -> None:
        assert run(self.calling(started.double, 21)).value == 42, "value has to return what the function returned"

    def test_a_function_that_returns_nothing_has_none(self, run: Callable[..., Ended]) -> None:
        ended = run(self.calling(started.nothing))
        assert (ended.code, ended.value) == (0, None), "a function that returns has to exit with 0, None is a value"

    def test_a_function_that_raises_exits_with_1_and_shows_why(self, run: Callable[..., Ended]) -> None:
        ended = run(self.calling(started.fail))
        assert ended.code == 1, "a function that raises has to exit with 1"
        assert "LookupError: no such luck" in ended.err, "a function's exception has to be shown on the worker's stderr"

    # --- how workers are born ----------------------------------------------------------------------------

    def test_a_worker_has_exactly_the_environment_given(self, run: Callable[..., Ended]) -> None:
        if self.can(Capability.FUNCTIONS):
            found = run(self.calling(started.environment)).value
        else:
            found = dict(line.split("=", 1) for line in run(Command(argv=("/usr/bin/env",))).out.splitlines())
        assert found == {**ENV, **self.added}, "a worker has to have exactly the environment that `start` is given"

    def test_a_worker_leads_a_session_of_its_own(self, run: Callable[..., Ended]) -> None:
        expected = "a worker has to lead a session and a process group of its own: signals are sent to the group"
        if self.can(Capability.FUNCTIONS):
            assert run(self.calling(started.place)).value == {"leads a session": True, "leads a group": True}, expected
        else:
            words = run(self.shell("read -r line </proc/self/stat; echo $$ ${line##*) }")).out.split()
            assert (words[3], words[4]) == (words[0], words[0]), expected

    def test_a_worker_has_the_streams_given(self, run: Callable[..., Ended]) -> None:
        ended = run(self.either("echo to stdout; echo to stderr >&2", started.speak))
        written = (ended.out, ended.err)
        assert written == ("to stdout\n", "to stderr\n"), "a worker's 1 and 2 have to be the descriptors given"

    def test_a_worker_reads_the_stdin_given(self, run: Callable[..., Ended]) -> None:
        reading, writing = os.pipe()
        os.write(writing, b"a line\n")
        os.close(writing)
        try:
            ended = run(self.either("read -r line; echo $line", started.read_a_line), stdin=reading)
        finally:
            os.close(reading)
        assert (ended.value or ended.out) == "a line\n", "a worker's 0 has to be the descriptor given"

    def test_a_worker_inherits_no_other_descriptor(self, run: Callable[..., Ended], tmp_path: Path) -> None:
        with open(tmp_path / "open", "wb") as file:
            leaky = os.dup2(file.fileno(), 200, inheritable=True)
            try:
                inode = os.fstat(leaky).st_ino
                ended = run(self.either("if [ -e /proc/$$/fd/200 ]; then exit 9; fi", started.is_open, leaky, inode))
            finally:
                os.close(leaky)
        assert (ended.code, ended.value or False) == (0, False), (
            "a worker must not inherit a descriptor but its streams"
        )

    def test_a_worker_has_default_signals(self, run: Callable[..., Ended]) -> None:
        old = {one: signal.signal(one, signal.SIG_IGN) for one in (signal.SIGHUP, signal.SIGUSR1)}
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGTERM])
        expected = "a worker has to have default signal dispositions and block none, whatever the launcher has"
        try:
            if self.can(Capability.FUNCTIONS):
                assert run(self.calling(started.signals)).value == {"not default": [], "blocked": []}, expected
            else:
                status = run(self.shell("exec cat /proc/self/status")).out
                fields = dict(line.split(":", 1) for line in status.splitlines())
                masks = [int(fields[name], 16) & USUAL for name in ("SigBlk", "SigIgn", "SigCgt")]
                assert masks == [0, 0, 0], expected
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for signum, handler in old.items():
                signal.signal(signum, handler)

    # --- what cannot be started --------------------------------------------------------------------------

    def test_a_program_that_is_not_there_is_an_error_at_once(self, start: Callable[..., Any]) -> None:
        self.need(Capability.COMMANDS)
        refused(lambda: start(Command(argv=("/no/such/program",))), "there is no such program")

    def test_what_it_does_not_start_is_refused(self, start: Callable[..., Any]) -> None:
        if self.can(Capability.COMMANDS) and self.can(Capability.FUNCTIONS):
            pytest.skip("it starts both commands and functions")
        commands = self.can(Capability.COMMANDS)
        command = Command(function=started.nothing, name="nothing") if commands else Command(argv=("/bin/true",))
        refused(lambda: start(command), f"the start method does not declare {'FUNCTIONS' if commands else 'COMMANDS'}")

    # --- the end -----------------------------------------------------------------------------------------

    def test_it_can_be_closed_though_it_never_started_anything(self, starter: Any) -> None:
        starter.close()

    def test_nothing_is_left_when_all_are_reaped_and_it_is_closed(self, starter: Any) -> None:
        before = descriptors()
        with open(os.devnull, "r+b") as null:
            streams = Streams(null.fileno(), null.fileno(), null.fileno())
            child = starter.start(self.either("exit 0", started.nothing), ENV, streams)
        self.wait(child)
        child.reap()
        starter.close()
        self.until(lambda: not descriptors() - before, "reap and close have to close every descriptor that was opened")


def readable(fd: int, seconds: float) -> bool:
    """Whether the descriptor becomes readable within that time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def exists(pid: int) -> bool:
    """Whether there is such a process, zombies included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_fd(fd: int) -> bool:
    """Whether the descriptor is open, as far as its number tells."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def descriptors() -> set[str]:
    """The descriptors of this process."""
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def refused(call: Callable[[], Any], why: str) -> None:
    """The call raises OSError or ValueError."""
    expected = f"start has to raise OSError or ValueError, because {why}"
    try:
        call()
    except (OSError, ValueError):
        return
    except Exception as error:
        pytest.fail(f"{expected}; it raised {type(error).__name__}: {error}")
    pytest.fail(f"{expected}; it returned a child")
