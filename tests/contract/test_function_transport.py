"""Functions, arguments and main modules on their way into a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher_core.hooks.ports import Starter
from launcher_core.runtime import system
from launcher_core.worker.script import run_script_path

sys.path.append(str(Path(__file__).parent))  # workers import the functions by name, as they would a user's
import starting
from starting import DEADLINE, Ended, call, for_functions, for_pickling, python

pytestmark = pytest.mark.timeout(120)
starter = starting.starter


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


def script(directory: Path, text: str) -> str:
    path = directory / "user_script.py"
    path.write_text(PREAMBLE + text)
    return str(path)


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


@for_pickling
def test_a_main_module_without_a_guard_fails_instead_of_starting_for_ever(method: str, tmp_path: Path) -> None:
    code, out, err = finish(python(script(tmp_path, "print(outcome(sys.argv[1], point, 5))"), method))
    assert (code, out) == (0, "(1, None)\n")
    assert "put the launch, and whatever else is for the launching process alone, under `if __name__" in err


@for_pickling
def test_a_function_of_an_interactive_session_is_refused(method: str, tmp_path: Path) -> None:
    text = PREAMBLE + "print(outcome(sys.argv[1], point, 5))"
    process = python("-c", text, method)
    code, _, err = finish(process)
    assert code == 1
    assert "cannot send the function point to a worker: it was defined in an interactive session" in err


@for_pickling
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
