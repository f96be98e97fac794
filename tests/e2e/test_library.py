"""Launches from Python code: functions and commands, from threads, and from the cells of a notebook."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from in_process import InProcess
from launches import Launcher, until

import launcher_core
from launcher_core.cli.tell import Teller
from launcher_core.errors import ChildFailedError, LauncherError, SignalException, UsageError
from launcher_core.launch import carry_out, command_of, elastic_launch, prepare
from launcher_core.model.news import Over
from launcher_core.model.settings import LaunchConfig
from launcher_core.run import config_from_args, get_args_parser, parse_args, run

BIN = Path(__file__).parent / "bin"
METHODS = ["spawn", "fork", "forkserver"]


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of functions that workers run."""
    monkeypatch.syspath_prepend(BIN)
    import worker_functions

    return worker_functions


def config(nproc: int, **more: Any) -> LaunchConfig:
    """One node with so many workers."""
    return LaunchConfig(1, 1, nproc, rdzv_endpoint="localhost:0", **{"max_restarts": 0, **more})


def test_the_public_names_are_those_of_their_modules() -> None:
    public = [launcher_core.LaunchConfig, launcher_core.elastic_launch, launcher_core.ChildFailedError]
    assert public == [LaunchConfig, elastic_launch, ChildFailedError]


# --- functions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_the_values_that_functions_return_come_by_global_rank(
    in_process: InProcess, functions: Any, method: str
) -> None:
    launch = elastic_launch(config(3, start_method=method), functions.rank_times)
    assert in_process.call(lambda: launch(10)) == {0: 0, 1: 10, 2: 20}


@pytest.mark.parametrize("method", METHODS)
def test_a_value_that_cannot_be_read_is_said_and_leaves_no_worker(
    in_process: InProcess, functions: Any, method: str
) -> None:
    launch = elastic_launch(config(3, start_method=method), functions.unreadable_from_rank_1)
    with pytest.raises(LauncherError, match="returned cannot be read: LookupError: no such luck"):
        in_process.call(launch)


def test_a_launch_can_be_repeated(in_process: InProcess, functions: Any) -> None:
    launch = elastic_launch(config(2, start_method="fork"), functions.rank_times)
    assert [in_process.call(lambda: launch(3)) for _ in range(3)] == [{0: 0, 1: 3}] * 3


def test_a_function_of_the_moment_can_be_forked(in_process: InProcess) -> None:
    launch = elastic_launch(config(2, start_method="fork"), lambda: os.environ["RANK"])
    assert in_process.call(launch) == {0: "0", 1: "1"}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_function_of_the_moment_cannot_be_sent_and_that_is_said(in_process: InProcess, method: str) -> None:
    launch = elastic_launch(config(2, start_method=method), lambda: 1)
    with pytest.raises(ValueError, match=f"start method {method} cannot send the function .*use start method fork"):
        in_process.call(launch)


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_in_a_function_is_in_the_failure(in_process: InProcess, functions: Any, method: str) -> None:
    launch = elastic_launch(config(2, start_method=method), functions.fail_on)
    with pytest.raises(ChildFailedError) as caught:
        in_process.call(lambda: launch(1))
    rank, failure = caught.value.get_first_failure()
    assert (rank, failure.exitcode) == (1, 1)
    assert failure.message["message"] == "LookupError: rank 1 was told to fail"
    assert caught.value.name == "fail_on"


@pytest.mark.parametrize(
    "wrong",
    [
        config(0),
        config(1, rdzv_backend="nosuch"),
        LaunchConfig(2, 1, 1),
        config(1, signals_to_handle="SIGNONE"),
        config(1, monitor_interval=0),
        config(1, shutdown_timeout=-1),
    ],
)
def test_nothing_is_launched_where_the_request_makes_no_sense(
    in_process: InProcess, functions: Any, wrong: LaunchConfig
) -> None:
    with pytest.raises(UsageError):
        in_process.call(lambda: elastic_launch(wrong, functions.rank_times)(1))


@pytest.mark.parametrize("nothing", [None, "", 5])
def test_nothing_is_launched_where_there_is_nothing_to_launch(in_process: InProcess, nothing: Any) -> None:
    with pytest.raises(UsageError, match=f"nothing to launch: {nothing!r} is no function"):
        in_process.call(elastic_launch(config(1), nothing))


def test_the_grace_that_torch_elastic_s_variable_names_holds(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "soon")
    with pytest.raises(UsageError, match="TORCH_ELASTIC_SHUTDOWN_TIMEOUT='soon': write a number of seconds"):
        in_process.call(elastic_launch(config(1), "true"))
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "0")
    stubborn = "trap '' TERM; if [ $RANK = 0 ]; then while :; do sleep 0.01; done; fi; exit 3"
    with pytest.raises(ChildFailedError) as caught:
        in_process.call(lambda: elastic_launch(config(2), "sh")("-c", stubborn))
    assert caught.value.failures[0].signal_name() == "SIGKILL"


# --- commands --------------------------------------------------------------------------------------------


def test_commands_return_nothing_for_each_rank(in_process: InProcess, tmp_path: Path) -> None:
    launch = elastic_launch(config(2), str(BIN / "touch_rank.sh"))
    assert in_process.call(lambda: launch(tmp_path)) == {0: None, 1: None}
    assert {path.name for path in tmp_path.iterdir()} >= {"0", "1"}


def test_a_failed_command_is_called_by_its_script(in_process: InProcess) -> None:
    launch = elastic_launch(config(1), sys.executable)
    with pytest.raises(ChildFailedError) as caught:
        in_process.call(lambda: launch("-u", str(BIN / "end_as_told.py"), "9"))
    assert (caught.value.name, caught.value.failures[0].exitcode) == (str(BIN / "end_as_told.py"), 9)


@pytest.mark.parametrize("parse", [parse_args, lambda words: get_args_parser().parse_args(words)])
def test_what_config_from_args_gives_can_be_launched(
    in_process: InProcess, tmp_path: Path, parse: Callable[[list[str]], Any]
) -> None:
    words = ["--nproc-per-node=2", "--no-python", str(BIN / "touch_rank.sh"), str(tmp_path)]
    found, entrypoint, args = config_from_args(parse(words))
    assert (entrypoint, args) == (str(BIN / "touch_rank.sh"), [str(tmp_path)])
    assert in_process.call(lambda: elastic_launch(found, entrypoint)(*args)) == {0: None, 1: None}


def test_a_program_that_parses_the_words_itself_can_run_them(in_process: InProcess, tmp_path: Path) -> None:
    parser = get_args_parser()
    parser.add_argument("--recipe")
    args = parser.parse_args(["--recipe=lora", "--no-python", str(BIN / "touch_rank.sh"), str(tmp_path)])
    args.nproc_per_node = "2"
    in_process.call(lambda: run(args))
    assert {path.name for path in tmp_path.iterdir()} >= {"0", "1"}


# --- threads ---------------------------------------------------------------------------------------------


def in_a_thread(call: Callable[[], Any]) -> Any:
    """What `call` returns or raises, when it runs in a thread that is not the main one."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def test_a_script_is_launched_from_another_thread(in_process: InProcess, tmp_path: Path) -> None:
    in_process.call(lambda: in_a_thread(lambda: in_process_main(tmp_path)))
    assert {path.name for path in tmp_path.iterdir()} >= {"0", "1", "2", "3"}


def in_process_main(tmp_path: Path) -> None:
    from launcher_core.run import main

    main(["--nproc-per-node=4", str(BIN / "touch_rank.py"), f"--touch-file-dir={tmp_path}"])


@pytest.mark.parametrize("method", METHODS)
def test_functions_are_launched_from_another_thread(in_process: InProcess, functions: Any, method: str) -> None:
    launch = elastic_launch(config(2, start_method=method), functions.rank_times)
    assert in_process.call(lambda: in_a_thread(lambda: launch(4))) == {0: 0, 1: 4}


@pytest.mark.parametrize("method", METHODS)
def test_functions_are_launched_from_an_executors_thread(in_process: InProcess, functions: Any, method: str) -> None:
    def pooled() -> Any:
        with ThreadPoolExecutor() as pool:
            return pool.submit(elastic_launch(config(2, start_method=method), functions.rank_times), 4).result()

    assert in_process.call(pooled) == {0: 0, 1: 4}


def test_a_function_is_forked_beside_a_pool_of_processes(in_process: InProcess, functions: Any) -> None:
    def pooled() -> Any:
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            before = pool.submit(abs, -3).result()
            found = elastic_launch(config(2, start_method="fork"), functions.rank_in_a_pool)()
            return before, found, pool.submit(abs, -4).result()

    assert in_process.call(pooled) == (3, {0: 0, 1: 1}, 4)


def test_a_failure_reaches_the_other_thread(in_process: InProcess, functions: Any) -> None:
    launch = elastic_launch(config(2, start_method="fork"), functions.fail_on)
    with pytest.raises(ChildFailedError, match="LookupError: rank 0 was told to fail"):
        in_process.call(lambda: in_a_thread(lambda: launch(0)))


def test_two_launches_that_name_no_endpoint_do_not_meet(in_process: InProcess, functions: Any) -> None:
    """The outer one is at work, with what it met at, while its worker launches the inner one."""
    outer = elastic_launch(LaunchConfig(1, 1, 1, max_restarts=0), functions.launch_inside)
    assert in_process.call(outer) == {0: {0: 0, 1: 3}}


def test_two_threads_launch_at_the_same_time(in_process: InProcess, functions: Any) -> None:
    found: dict[int, Any] = {}

    def one(factor: int) -> None:
        found[factor] = elastic_launch(config(2), functions.rank_times)(factor)

    def both() -> None:
        threads = [threading.Thread(target=one, args=[factor]) for factor in (5, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    in_process.call(both)
    assert found == {5: {0: 0, 1: 5}, 7: {0: 0, 1: 7}}


# --- signals ---------------------------------------------------------------------------------------------


def test_a_signal_during_a_launch_stops_the_workers_and_is_raised(in_process: InProcess, tmp_path: Path) -> None:
    from launcher_core.run import main

    def interrupt() -> None:
        until(lambda: (tmp_path / "0").exists(), "the worker is there")
        os.kill(os.getpid(), signal.SIGTERM)

    def launch() -> None:
        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        try:
            main([str(BIN / "stay.py"), str(tmp_path), "die"])
        finally:
            interrupter.join()

    with pytest.raises(SignalException) as caught:
        in_process.call(launch)
    assert caught.value.sigval is signal.SIGTERM
    assert str(caught.value) == f"Process {os.getpid()} got signal: {int(signal.SIGTERM)}"


def test_a_program_s_own_handlers_are_its_own_again(in_process: InProcess, tmp_path: Path) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda signum, frame: got.append(signum))
    try:
        in_process.main("--no-python", BIN / "touch_rank.sh", tmp_path)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]


class LateSignal:
    """A meeting at which the end of the job is followed by a signal, before the agent has heard of either."""

    def __init__(self, meeting: Any) -> None:
        self._meeting = meeting

    def __getattr__(self, name: str) -> Any:
        return getattr(self._meeting, name)

    def start(self, post: Any) -> None:
        self._post = post
        self._meeting.start(post)

    def join(self, node: object) -> None:
        self._post(Over(True, "all have finished"))
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_comes_after_the_end_of_the_job_is_the_hosts(in_process: InProcess) -> None:
    heard: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda signum, frame: heard.append(signum))
    try:
        plan = prepare(LaunchConfig(1, 1, 1, rdzv_endpoint="localhost:0"), command_of("/bin/true", ()))
        plan = plan._replace(parts=plan.parts._replace(meeting=LateSignal(plan.parts.meeting)))
        assert in_process.call(lambda: carry_out(plan, Teller(sys.stderr))) == {}
    finally:
        signal.signal(signal.SIGTERM, old)
    assert heard == [signal.SIGTERM]


# --- notebooks -------------------------------------------------------------------------------------------

KERNEL = '''
import asyncio, io, sys, traceback


class CellOutput(io.TextIOBase):
    """A notebook's stdout: text goes to the browser, and the descriptor it names is the kernel's log."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def fileno(self):
        return 1


async def kernel(cells):
    shown = []
    for number, cell in enumerate(cells):
        sys.stdout, sys.stderr = CellOutput(), CellOutput()
        try:
            exec(compile(cell, f"<ipython-input-{number}>", "exec"), sys.modules["__main__"].__dict__)
        except BaseException:
            traceback.print_exc()
        shown.append([sys.stdout.text, sys.stderr.text])
        await asyncio.sleep(0)
    return shown


import json
cells = json.loads(sys.argv[1])
shown = asyncio.run(kernel(cells))
print(json.dumps(shown), file=sys.__stdout__)
'''

FIRST_CELL = """
from launcher_core import LaunchConfig, elastic_launch
import os

def add(x):
    print("from rank", os.environ["RANK"], flush=True)
    return int(os.environ["RANK"]) + x

def launch(method, **more):
    return elastic_launch(LaunchConfig(1, 1, 2, start_method=method, rdzv_endpoint="localhost:0", **more), add)
"""


def cells(launcher: Launcher, *sources: str) -> list[list[str]]:
    """[stdout, stderr] of each cell, as the browser would show it."""
    import json
    import subprocess

    words = [sys.executable, "-c", KERNEL, json.dumps([FIRST_CELL, *sources])]
    done = subprocess.run(
        words, env=launcher.env, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=60, check=True
    )
    *workers, shown = done.stdout.decode().splitlines()
    found: list[list[str]] = json.loads(shown)[1:]
    return [*found, workers]


def test_a_function_of_a_notebook_is_launched_by_fork(launcher: Launcher) -> None:
    shown, workers = cells(launcher, "print(launch('fork')(5))")
    assert shown == ["{0: 5, 1: 6}\n", ""]
    assert sorted(workers) == ["from rank 0", "from rank 1"]


def test_what_workers_print_appears_under_the_cell_when_it_is_tee_d(launcher: Launcher) -> None:
    cell = (
        "from launcher_core import DefaultLogsSpecs, Std\nlaunch('fork', logs_specs=DefaultLogsSpecs(tee=Std.OUT))(5)"
    )
    shown, workers = cells(launcher, cell)
    assert (sorted(shown[0].splitlines()), shown[1], workers) == (
        ["[default_role0]:from rank 0", "[default_role1]:from rank 1"],
        "",
        [],
    )


def test_the_traceback_of_a_worker_appears_under_the_cell(launcher: Launcher) -> None:
    shown, workers = cells(launcher, "launch('fork', max_restarts=0)('text')")
    assert shown[1].startswith("Traceback (most recent call last):\n")
    assert [line for line in workers if not line.startswith("from rank")] == []


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_function_of_a_notebook_cannot_be_sent_and_that_is_said(launcher: Launcher, method: str) -> None:
    shown, workers = cells(launcher, f"launch('{method}')(5)")
    assert shown[1].rstrip().splitlines()[-1] == (
        f"launcher_core.errors.UsageError: start method {method} cannot send the function add to a worker: it was "
        "defined in an interactive session, which a new interpreter cannot import; put it into a module, or use "
        "start method fork"
    )
    assert (shown[0], workers) == ("", [])


def test_a_script_is_launched_from_a_notebook(launcher: Launcher, tmp_path: Path) -> None:
    words = ["--nproc-per-node=2", str(BIN / "touch_rank.sh"), str(tmp_path)]
    cell = f"from launcher_core.run import main\nmain(['--no-python', '--tee=1', *{words!r}])"
    shown, workers = cells(launcher, cell)
    lines = [f"[default{rank}]:creating {tmp_path}/{rank}" for rank in range(2)]
    assert (sorted(shown[0].splitlines()), workers) == (lines, [])
    assert {path.name for path in tmp_path.iterdir()} >= {"0", "1"}
