"""How workers are started and end, by all four start methods, with real processes."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher_core.hooks.ports import Declaration, Starter
from launcher_core.model.capability import Capability
from launcher_core.model.job import Command, Streams
from launcher_core.runtime import system

sys.path.append(str(Path(__file__).parent))  # workers import the functions by name, as they would a user's
import started_functions as functions
import starting
from starting import (
    ENV,
    Ended,
    call,
    dispose,
    for_all,
    for_commands,
    for_functions,
    for_pickling,
    plugin,
    run,
    sh,
    wait_for,
)

pytestmark = pytest.mark.timeout(120)
starter = starting.starter


# --- what it says of itself ----------------------------------------------------------------------------


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


# --- values and exits ----------------------------------------------------------------------------------


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
def test_an_exception_is_shown_from_the_users_first_frame_on_and_recorded(starter: Starter, tmp_path: Path) -> None:
    error_file = tmp_path / "error.json"
    ended = call(starter, functions.fail, env={**ENV, "TORCHELASTIC_ERROR_FILE": str(error_file)})
    lines = ended.err.splitlines()
    assert (ended.code, ended.value, lines[0]) == (1, None, "Traceback (most recent call last):")
    assert lines[1].startswith(f'  File "{functions.__file__}", line ')
    assert lines[-1] == "LookupError: no such luck"
    recorded = json.loads(error_file.read_text())["message"]["message"]
    assert recorded == "LookupError: no such luck"


@for_functions
def test_a_value_that_cannot_be_pickled_is_an_error_that_names_the_function(starter: Starter, tmp_path: Path) -> None:
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


@for_functions
def test_what_was_written_to_files_that_were_never_closed_is_in_them(starter: Starter, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir()
    assert call(starter, functions.leave_files_open, str(folder)) == Ended(0, "", "", None)
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {name: name for name in ("text", "both ways", "bytes")}


@for_pickling
def test_a_function_that_cannot_be_pickled_is_refused_by_name(starter: Starter, method: str) -> None:
    expected = f"start method {method} cannot send the function .*<lambda> to a worker: .*use start method fork"
    with pytest.raises(ValueError, match=expected):
        call(starter, lambda: None)


@for_pickling
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


# --- commands that cannot be started -------------------------------------------------------------------


@for_commands
@pytest.mark.parametrize(
    ("name", "content", "mode", "kind", "text"),
    [
        ("missing", None, 0, FileNotFoundError, "there is no such file"),
        ("plain", "#!/bin/sh\n", 0o644, PermissionError, "is not executable; chmod"),
        ("bare", "echo hello\n", 0o755, OSError, "neither a binary for this machine nor a script with a #!"),
        ("lost", "#!/no/such/interpreter\n", 0o755, FileNotFoundError, "its interpreter .* does not exist"),
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
