"""What the port `Starter` promises, of all four start methods, with real processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from launcher_core.hooks.ports import Child, Declaration, Starter
from launcher_core.model.capability import Capability
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system
from launcher_core.worker.script import run_script_path

sys.path.append(str(Path(__file__).parent))  # workers import the functions by name, as they would a user's
import started_functions as functions

pytestmark = pytest.mark.timeout(120)
DEADLINE = 60.0
FOR_FUNCTIONS = ("spawn", "fork", "forkserver")
ALL = ("exec", *FOR_FUNCTIONS)
PICKLING = ("spawn", "forkserver")
ENV = {"PATH": os.environ.get("PATH", os.defpath), "RANK": "7", "LC_ALL": "C.UTF-8"}


class Ended(NamedTuple):
    """One worker from beginning to end."""

    code: int
    out: str
    err: str
    value: Any


def plugin(method: str) -> Any:
    return import_module(f"launcher_plugins.start_methods.{method}")


def census() -> tuple[set[str], int]:
    fds = [fd for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    return set(fds), threading.active_count()


@pytest.fixture
def starter(method: str) -> Iterator[Starter]:
    """A starter; the test fails that leaves a descriptor, a thread or a child behind."""
    before = census()
    made: Starter = plugin(method).launcher_make_starter()
    yield made
    made.close()
    assert census() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def wait_for(child: Child) -> int:
    assert system.wait_readable(child.fd, DEADLINE)
    return child.exit_code()


def dispose(child: Child) -> None:
    if child.fd >= 0:
        system.kill_group(child.pid, signal.SIGKILL)
        system.wait_readable(child.fd, DEADLINE)
        child.reap()


def run(starter: Starter, command: Command, env: dict[str, str] | None = None, stdin: int = -1) -> Ended:
    """Start the command, wait for it, and read what it wrote."""
    files = [system.anonymous_file(name) for name in ("out", "err")]
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        streams = Streams(null if stdin < 0 else stdin, *files)
        child = starter.start(command, ENV if env is None else env, streams)
        try:
            code = wait_for(child)
            out, err = (os.pread(fd, 1 << 20, 0).decode() for fd in files)
            return Ended(code, out, err, child.value())
        finally:
            dispose(child)
    finally:
        for fd in (*files, null):
            os.close(fd)


def call(starter: Starter, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Ended:
    return run(starter, Command(function=function, args=args), **kwargs)


def sh(starter: Starter, script: str, **kwargs: Any) -> Ended:
    return run(starter, Command(argv=("/bin/sh", "-c", script)), **kwargs)


def python(script: Path, *args: str) -> subprocess.Popen[str]:
    """A script in an interpreter that imports what this one does."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    return subprocess.Popen([sys.executable, str(script), *args], env=env, text=True, stdout=-1, stderr=-1)


for_functions = pytest.mark.parametrize("method", FOR_FUNCTIONS)
for_commands = pytest.mark.parametrize("method", ["exec"])
for_all = pytest.mark.parametrize("method", ALL)


# --- what it says of itself ------------------------------------------------------------------------------


@for_all
def test_a_method_declares_what_it_can_start(method: str) -> None:
    can = Capability.COMMANDS if method == "exec" else Capability.FUNCTIONS
    assert plugin(method).launcher_declare() == Declaration(can)


@for_functions
def test_a_method_for_functions_refuses_a_command(starter: Starter, method: str) -> None:
    with pytest.raises(ValueError, match=f"start method {method} starts Python functions.*use exec"):
        starter.start(Command(argv=("/bin/true",)), ENV, Streams())


@for_commands
def test_exec_refuses_a_function(starter: Starter) -> None:
    with pytest.raises(ValueError, match="start method exec starts commands, and double is none"):
        starter.start(Command(function=functions.double, name="double"), ENV, Streams())


# --- values and exits ------------------------------------------------------------------------------------


@for_functions
def test_a_function_returns_its_value(starter: Starter) -> None:
    assert call(starter, functions.double, 21) == Ended(0, "", "", 42)


@for_functions
def test_a_value_of_100_megabytes_arrives(starter: Starter) -> None:
    ended = call(starter, functions.zeros, 100_000_000)
    assert (ended.code, ended.value == bytes(100_000_000)) == (0, True)


@for_functions
@pytest.mark.parametrize(
    ("function", "args", "expected"),
    [
        (functions.nothing, (), Ended(0, "", "", None)),
        (functions.leave, (), Ended(0, "", "", None)),
        (functions.leave, (None,), Ended(0, "", "", None)),
        (functions.leave, (0,), Ended(0, "", "", None)),
        (functions.leave, (3,), Ended(3, "", "", None)),
        (functions.leave, (255,), Ended(255, "", "", None)),
        (functions.leave, (True,), Ended(1, "", "", None)),
        (functions.leave, ("out of luck",), Ended(1, "", "out of luck\n", None)),
        (functions.leave_at_once, (0,), Ended(0, "", "", None)),
        (functions.leave_at_once, (9,), Ended(9, "", "", None)),
        (functions.interrupt, (), Ended(130, "", "", None)),
        (functions.die, (signal.SIGTERM,), Ended(-signal.SIGTERM, "", "", None)),
        (functions.die, (signal.SIGKILL,), Ended(-signal.SIGKILL, "", "", None)),
        (functions.die, (signal.SIGINT,), Ended(130, "", "", None)),
    ],
)
def test_every_way_to_leave_a_function_has_one_exit_status(
    starter: Starter, function: Callable[..., Any], args: tuple[Any, ...], expected: Ended
) -> None:
    assert call(starter, function, *args) == expected


@for_functions
def test_an_exception_is_shown_from_the_users_first_frame_on_and_recorded(
    starter: Starter, tmp_path: Path
) -> None:
    error_file = tmp_path / "error.json"
    ended = call(starter, functions.fail, env={**ENV, "TORCHELASTIC_ERROR_FILE": str(error_file)})
    lines = ended.err.splitlines()
    assert (ended.code, ended.value, lines[0]) == (1, None, "Traceback (most recent call last):")
    assert lines[1].startswith(f'  File "{functions.__file__}", line ')
    assert lines[-1] == "LookupError: no such luck"
    recorded = json.loads(error_file.read_text())["message"]["message"]
    assert recorded == "LookupError: no such luck"


@for_functions
def test_a_value_that_cannot_be_pickled_is_an_error_that_names_the_function(
    starter: Starter, tmp_path: Path
) -> None:
    error_file = tmp_path / "error.json"
    ended = call(starter, functions.unsendable, env={**ENV, "TORCHELASTIC_ERROR_FILE": str(error_file)})
    sentence = "unsendable returned a lock that cannot be sent to the launcher: TypeError: cannot pickle"
    assert (ended.code, ended.value, ended.err.count("\n")) == (1, None, 1)
    assert sentence in ended.err
    assert sentence in json.loads(error_file.read_text())["message"]["message"]


@for_functions
def test_a_value_that_cannot_be_read_here_is_a_value_error(starter: Starter) -> None:
    with pytest.raises(ValueError, match="returned cannot be read: LookupError: no such luck"):
        call(starter, functions.unreadable)


@for_functions
def test_threads_and_exit_handlers_of_the_worker_end_before_it(starter: Starter) -> None:
    assert call(starter, functions.exit_handlers_run) == Ended(0, "in a thread\nat exit\n", "", None)


@pytest.mark.parametrize("method", PICKLING)
def test_a_function_that_cannot_be_pickled_is_refused_by_name(starter: Starter, method: str) -> None:
    expected = (
        f"start method {method} cannot send the function .*<lambda> to a worker: .*use start method fork"
    )
    with pytest.raises(ValueError, match=expected):
        call(starter, lambda: None)


@pytest.mark.parametrize("method", PICKLING)
def test_an_argument_that_cannot_be_pickled_is_refused_with_its_function(starter: Starter) -> None:
    with pytest.raises(ValueError, match="cannot send an argument of double to a worker: TypeError"):
        call(starter, functions.double, threading.Lock())


@pytest.mark.parametrize("method", ["fork"])
def test_fork_takes_what_cannot_be_pickled(starter: Starter) -> None:
    lock = threading.Lock()
    assert call(starter, lambda: lock.locked()) == Ended(0, "", "", False)


@for_commands
@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 0", Ended(0, "", "", None)),
        ("exit 255", Ended(255, "", "", None)),
        ("kill -TERM $$", Ended(-signal.SIGTERM, "", "", None)),
        ("echo out; echo err >&2", Ended(0, "out\n", "err\n", None)),
    ],
)
def test_a_command_ends_as_it_ends(starter: Starter, script: str, expected: Ended) -> None:
    assert sh(starter, script) == expected


@for_all
def test_a_worker_that_runs_has_no_exit_status_yet(starter: Starter, method: str) -> None:
    forever = Command(argv=("sleep", "60"), function=None if method == "exec" else functions.wait_for_ever)
    child = starter.start(forever, ENV, Streams())
    try:
        with pytest.raises(ChildProcessError, match=f"process {child.pid} still runs"):
            child.exit_code()
        assert not system.wait_readable(child.fd, 0)
        system.kill_group(child.pid, signal.SIGTERM)
        assert wait_for(child) == -signal.SIGTERM
    finally:
        dispose(child)


# --- what a worker is born with --------------------------------------------------------------------------


@for_functions
def test_a_function_has_exactly_the_environment_given(starter: Starter) -> None:
    assert call(starter, functions.environment).value == ENV


@pytest.mark.parametrize("method", ["spawn"])
def test_spawn_has_the_environment_in_place_at_exec(starter: Starter) -> None:
    assert call(starter, functions.environment_at_exec).value == ENV


@for_commands
def test_a_command_has_exactly_the_environment_given(starter: Starter) -> None:
    assert run(starter, Command(argv=("env",))).out.splitlines() == [f"{k}={v}" for k, v in ENV.items()]


@for_functions
def test_a_function_leads_a_session_with_one_thread(starter: Starter) -> None:
    expected = {"leads its session": True, "leads its group": True, "threads": 1, "in its main thread": True}
    assert call(starter, functions.place).value == expected


@for_commands
def test_a_command_leads_a_session(starter: Starter) -> None:
    ids = sh(starter, "read -r line </proc/self/stat; echo $$ ${line##*) }").out.split()
    pid, group, session = ids[0], ids[3], ids[4]
    assert (group, session) == (pid, pid)


@pytest.fixture
def leaky() -> Iterator[None]:
    """This process has descriptors that an exec passes on, as a careless parent leaves them."""
    ends = os.pipe()
    high = os.dup2(ends[0], 200, inheritable=True)
    os.set_inheritable(ends[0], True)
    yield
    for fd in (*ends, high):
        os.close(fd)


@for_functions
def test_a_function_inherits_no_descriptor_but_its_own_result(leaky: None, starter: Starter) -> None:
    assert call(starter, functions.descriptors).value == [3]
    assert call(starter, functions.inheritable_descriptors).value == []


@for_commands
def test_a_command_inherits_no_descriptor(leaky: None, starter: Starter) -> None:
    assert sh(starter, "ls /proc/$$/fd; true").out.split() == ["0", "1", "2"]


@pytest.fixture
def strange_signals() -> Iterator[socket.socket]:
    """This process ignores, blocks and handles signals; gives the socket that those it handles wake."""
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    old = {
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        signal.SIGUSR1: signal.signal(signal.SIGUSR1, lambda number, frame: None),
    }
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
    descriptor = signal.set_wakeup_fd(wake.fileno())
    yield woken
    signal.set_wakeup_fd(descriptor)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in old.items():
        signal.signal(number, handler)
    woken.close()
    wake.close()


@for_functions
def test_a_function_has_the_signals_of_a_fresh_interpreter(
    strange_signals: socket.socket, starter: Starter
) -> None:
    ignored = {int(signal.SIGPIPE): str(signal.SIG_IGN), int(signal.SIGXFSZ): str(signal.SIG_IGN)}
    expected = {"not default": ignored, "interrupts": True, "blocked": set(), "wake-up descriptor": -1}
    assert call(starter, functions.signals).value == expected
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == {signal.SIGUSR2}


@for_functions
def test_a_signal_to_a_worker_never_wakes_the_launcher(
    strange_signals: socket.socket, starter: Starter
) -> None:
    assert call(starter, functions.die, signal.SIGUSR1) == Ended(-signal.SIGUSR1, "", "", None)
    assert not system.wait_readable(strange_signals.fileno(), 0)


@for_commands
def test_a_command_has_default_signals(strange_signals: socket.socket, starter: Starter) -> None:
    fields = dict(line.split(":", 1) for line in sh(starter, "exec cat /proc/self/status").out.splitlines())
    libc_s_own = 1 << 31 | 1 << 32  # signals 32 and 33, which no program can set
    masks = {name: int(fields[name], 16) & ~libc_s_own for name in ("SigBlk", "SigIgn", "SigCgt")}
    assert masks == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}


# --- streams ---------------------------------------------------------------------------------------------


@for_functions
def test_a_functions_streams_are_those_given(starter: Starter) -> None:
    expected = Ended(0, "to stdout\nstraight to 1\nan unfinished line", "to stderr\n", None)
    assert call(starter, functions.speak) == expected


@for_functions
def test_a_function_reads_the_stdin_given(starter: Starter) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a line\n")
    os.close(writing)
    assert call(starter, functions.read_a_line, stdin=reading).value == "a line\n"
    os.close(reading)


@for_functions
def test_a_line_is_in_the_pipe_when_it_was_printed(starter: Starter) -> None:
    reading, writing = os.pipe()
    their_input, our_end = os.pipe()
    command = Command(function=functions.say_and_wait, args=("here",))
    child = starter.start(command, ENV, Streams(their_input, writing, 2))
    try:
        assert system.wait_readable(reading, DEADLINE)
        assert os.read(reading, 100) == b"here\n"
        os.write(our_end, b"go on\n")
        assert wait_for(child) == 0
    finally:
        dispose(child)
        for fd in (reading, writing, their_input, our_end):
            os.close(fd)


@for_all
def test_crossed_streams_arrive_where_they_should(starter: Starter, method: str) -> None:
    numbers = [os.dup(fd) for fd in (0, 1, 2)]
    files = [system.anonymous_file(name) for name in ("one", "two")]
    try:
        os.dup2(files[0], 2)
        os.dup2(files[1], 1)
        command = Command(
            argv=("/bin/sh", "-c", "echo to stdout; echo to stderr >&2"),
            function=None if method == "exec" else functions.speak,
        )
        child = starter.start(command, ENV, Streams(0, 2, 1))
        try:
            assert wait_for(child) == 0
        finally:
            dispose(child)
    finally:
        for number, fd in enumerate(numbers):
            os.dup2(fd, number)
            os.close(fd)
    texts = [os.pread(fd, 1000, 0).splitlines()[0] for fd in files]
    for fd in files:
        os.close(fd)
    assert texts == [b"to stdout", b"to stderr"]


# --- commands that cannot be started ---------------------------------------------------------------------


@for_commands
@pytest.mark.parametrize(
    ("name", "content", "mode", "kind", "text"),
    [
        ("missing", None, 0, FileNotFoundError, "there is no such file"),
        ("plain", "#!/bin/sh\n", 0o644, PermissionError, "is not executable; chmod"),
        ("bare", "echo hello\n", 0o755, OSError, "neither a binary for this machine nor a script with a #!"),
        ("lost", "#!/no/such/interpreter\n", 0o755, FileNotFoundError, "names an interpreter .* not exist"),
    ],
)
def test_a_program_that_cannot_be_started_is_named_with_the_reason(
    starter: Starter,
    tmp_path: Path,
    name: str,
    content: str | None,
    mode: int,
    kind: type[OSError],
    text: str,
) -> None:
    program = tmp_path / name
    if content is not None:
        program.write_text(content)
        program.chmod(mode)
    with pytest.raises(kind, match=f"^cannot start {program}: .*{text}") as caught:
        starter.start(Command(argv=(str(program),)), ENV, Streams())
    assert caught.value.errno


@for_commands
def test_a_directory_is_no_program(starter: Starter, tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="it is a directory"):
        starter.start(Command(argv=(str(tmp_path),)), ENV, Streams())


@for_commands
def test_a_program_is_looked_up_in_the_workers_own_path(starter: Starter, tmp_path: Path) -> None:
    program = tmp_path / "greet"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    assert run(starter, Command(argv=("greet",)), env={"PATH": str(tmp_path)}).out == "hello\n"
    with pytest.raises(FileNotFoundError, match="no program 'greet' in PATH=/nowhere"):
        starter.start(Command(argv=("greet",)), {"PATH": "/nowhere"}, Streams())


@for_commands
@pytest.mark.parametrize(
    ("argv", "streams", "kind", "text"),
    [
        (("/bin/true", "x" * 3_000_000), Streams(), OSError, "larger than the kernel allows"),
        (("/bin/true", "nul\0"), Streams(), ValueError, "embedded null"),
        (("/bin/true",), Streams(stdin=4000), OSError, "stdin, stdout or stderr is closed"),
        ((), Streams(), ValueError, "starts commands"),
    ],
)
def test_what_the_kernel_refuses_is_explained(
    starter: Starter, argv: Sequence[str], streams: Streams, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        starter.start(Command(argv=tuple(argv)), ENV, streams)


# --- many, and their end ---------------------------------------------------------------------------------


@for_all
def test_16_workers_run_side_by_side(starter: Starter, method: str) -> None:
    children = []
    try:
        for rank in range(16):
            command = Command(("/bin/true",)) if method == "exec" else Command((), functions.double, (rank,))
            children.append(starter.start(command, ENV, Streams()))
        codes = [wait_for(child) for child in children]
        values = [child.value() for child in children]
    finally:
        for child in children:
            dispose(child)
    expected = [None] * 16 if method == "exec" else [2 * rank for rank in range(16)]
    assert (codes, values) == ([0] * 16, expected)


@for_all
def test_a_child_keeps_its_group_until_it_is_reaped(starter: Starter, method: str) -> None:
    command = Command(("/bin/true",)) if method == "exec" else Command((), functions.nothing)
    child = starter.start(command, ENV, Streams())
    try:
        assert wait_for(child) == 0
        assert system.kill_group(child.pid, 0)
        assert not system.group_alive(child.pid)
    finally:
        dispose(child)
    assert not system.kill_group(child.pid, 0)


@for_commands
def test_a_group_lives_as_long_as_a_grandchild_does(starter: Starter) -> None:
    child = starter.start(Command(("/bin/sh", "-c", "sleep 60 & exit 5")), ENV, Streams())
    try:
        assert wait_for(child) == 5
        assert system.group_alive(child.pid)
    finally:
        dispose(child)


@for_commands
def test_a_kernel_without_pidfd_is_served_by_a_thread(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert sh(starter, "exit 6") == Ended(6, "", "", None)
    for thread in threading.enumerate():
        if thread.name.startswith("exit of "):
            thread.join(DEADLINE)


@pytest.mark.parametrize("method", ["forkserver"])
def test_a_kernel_without_pidfd_is_named_by_the_fork_server(
    starter: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "pid_fd", refuse)
    with pytest.raises(OSError, match="forkserver cannot watch its worker: it needs"):
        starter.start(Command(function=functions.wait_for_ever), ENV, Streams())


def refuse(pid: int) -> int:
    raise NotImplementedError("it needs Linux 5.3")


@for_commands
def test_exit_statuses_are_kept_though_the_launcher_was_told_to_ignore_children(starter: Starter) -> None:
    old = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        system.keep_exit_statuses()
        assert sh(starter, "exit 6").code == 6
    finally:
        signal.signal(signal.SIGCHLD, old)


@pytest.mark.parametrize("method", ["forkserver"])
def test_a_server_that_is_closed_waits_for_its_children(starter: Starter) -> None:
    reading, writing = os.pipe()
    child = starter.start(Command(function=functions.read_a_line), ENV, Streams(reading))
    try:
        starter.close()
        os.write(writing, b"still here\n")
        assert (wait_for(child), child.value()) == (0, "still here\n")
    finally:
        dispose(child)
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("method", ["forkserver"])
def test_workers_die_with_their_server_and_the_next_start_has_another(starter: Starter) -> None:
    child = starter.start(Command(function=functions.wait_for_ever), ENV, Streams())
    try:
        with open(f"/proc/{child.pid}/stat") as file:
            server = int(file.read().rpartition(")")[2].split()[1])
        os.kill(server, signal.SIGKILL)
        assert wait_for(child) == -signal.SIGKILL
        with pytest.raises(ConnectionError, match=f"fork server .pid {server}. does not answer"):
            starter.start(Command(function=functions.nothing), ENV, Streams())
        assert call(starter, functions.double, 4).value == 8
    finally:
        dispose(child)


@pytest.mark.parametrize("method", ["fork"])
def test_a_fork_of_a_process_with_threads_has_none_of_them(starter: Starter) -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert call(starter, threading.active_count).value == 1
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# --- in a process of its own -----------------------------------------------------------------------------

PREAMBLE = """
import os, signal, sys, time
from importlib import import_module
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system

class Point:
    def __init__(self, x): self.x = x

def point(x):
    return Point(x)

def start(method, function, *args):
    starter = import_module("launcher_plugins.start_methods." + method).launcher_make_starter()
    return starter, starter.start(Command(function=function, args=args), dict(os.environ), Streams())

def outcome(method, function, *args):
    starter, child = start(method, function, *args)
    system.wait_readable(child.fd, 60)
    code, value = child.exit_code(), child.value()
    child.reap()
    starter.close()
    return code, value
"""


def script(directory: Path, text: str) -> Path:
    path = directory / "user_script.py"
    path.write_text(PREAMBLE + text)
    return path


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, out, err


@for_functions
def test_functions_and_classes_of_the_main_module_work(method: str, tmp_path: Path) -> None:
    text = """
if __name__ == "__main__":
    code, value = outcome(sys.argv[1], point, 5)
    print(code, type(value) is Point, value.x)
"""
    assert finish(python(script(tmp_path, text), method)) == (0, "0 True 5\n", "")


@pytest.mark.parametrize("method", PICKLING)
def test_a_main_module_without_a_guard_fails_instead_of_starting_for_ever(
    method: str, tmp_path: Path
) -> None:
    code, out, err = finish(python(script(tmp_path, "print(outcome(sys.argv[1], point, 5))"), method))
    assert (code, out) == (0, "(1, None)\n")
    assert "put the launch, and whatever else is for the launching process alone, under `if __name__" in err


@pytest.mark.parametrize("method", PICKLING)
def test_a_function_of_an_interactive_session_is_refused(method: str, tmp_path: Path) -> None:
    text = PREAMBLE + "print(outcome(sys.argv[1], point, 5))"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    process = subprocess.Popen([sys.executable, "-c", text, method], env=env, text=True, stdout=-1, stderr=-1)
    code, _, err = finish(process)
    assert code == 1
    assert "cannot send the function point to a worker: it was defined in an interactive session" in err


@pytest.mark.parametrize("method", PICKLING)
def test_queues_and_shared_memory_reach_a_worker_and_outlive_it(method: str, tmp_path: Path) -> None:
    text = """
from multiprocessing import get_context, shared_memory

def fill(queue, lock, name):
    with lock:
        memory = shared_memory.SharedMemory(name)
        memory.buf[0] = 9
        memory.close()
    queue.put("filled")

if __name__ == "__main__":
    context = get_context("spawn")
    queue, lock = context.SimpleQueue(), context.Lock()
    memory = shared_memory.SharedMemory(create=True, size=1)
    code, _ = outcome(sys.argv[1], fill, queue, lock, memory.name)
    again = shared_memory.SharedMemory(memory.name)
    print(code, queue.get(), again.buf[0])
    again.close(); memory.close(); memory.unlink()
"""
    assert finish(python(script(tmp_path, text), method)) == (0, "0 filled 9\n", "")


@for_functions
def test_nothing_outlives_a_killed_launcher(method: str, tmp_path: Path) -> None:
    text = """
def wait():
    print("ready", os.getpid(), os.getppid(), flush=True)
    time.sleep(600)

if __name__ == "__main__":
    started = start(sys.argv[1], wait)
    time.sleep(600)
"""
    launcher = python(script(tmp_path, text), method)
    try:
        assert launcher.stdout is not None
        pids = [int(pid) for pid in launcher.stdout.readline().split()[1:]]
        watches = [system.pid_fd(pid) for pid in pids]
        launcher.kill()
        gone = [system.wait_readable(fd, 10.0) for fd in watches]
        for fd in watches:
            os.close(fd)
    finally:
        launcher.kill()
        launcher.communicate(timeout=DEADLINE)
    assert gone == [True, True]


@for_functions
def test_a_script_runs_as_main_with_its_siblings_importable(starter: Starter, tmp_path: Path) -> None:
    (tmp_path / "sibling.py").write_text("NAME = 'sibling'\n")
    main = tmp_path / "main.py"
    main.write_text("import sibling, sys\nprint(__name__, sibling.NAME, *sys.argv[1:])\nsys.exit(4)\n")
    ended = call(starter, run_script_path, str(main), "--flag", "value")
    assert ended == Ended(4, "__main__ sibling --flag value\n", "", None)


@for_functions
def test_a_scripts_traceback_begins_in_the_script(starter: Starter, tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text("1 / 0\n")
    lines = call(starter, run_script_path, str(main)).err.splitlines()
    assert lines[:2] == ["Traceback (most recent call last):", f'  File "{main}", line 1, in <module>']


def test_no_start_method_uses_the_machinery_of_multiprocessing_processes() -> None:
    assert multiprocessing.active_children() == []
