"""Jobs whose nodes meet: alone and elastic, two agents on one machine, a rendezvous from elsewhere, and its end."""

from __future__ import annotations

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest
from in_process import Distributions, InProcess
from launches import Launcher, until

from launcher_core.errors import ChildFailedError
from launcher_core.run import main, parse_min_max_nnodes

BIN = Path(__file__).parent / "bin"
TOUCH_PY = BIN / "touch_rank.py"
CONF = "join_timeout=5,last_call_timeout=1,timeout=5"


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """Where workers leave a file each."""
    folder = tmp_path / "touched"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture(params=["c10d", "file"])
def elastic(request: pytest.FixtureRequest, tmp_path: Path, free_port: int) -> list[str]:
    """Options of a job with one or two nodes of four workers."""
    endpoint = f"localhost:{free_port}" if request.param == "c10d" else str(tmp_path)
    place = [f"--rdzv-backend={request.param}", f"--rdzv-endpoint={endpoint}", "--rdzv-id=310577"]
    return ["--nnodes=1:2", "--nproc-per-node=4", "--monitor-interval=1", "--start-method=spawn", *place]


def agent_events(path: Path) -> list[tuple[str, Any]]:
    """(state, raw error) of each event about the end of the agent."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    ends = [event["metadata"] for event in events if event["source"] == "AGENT"]
    return [(end["state"], end["raw_error"]) for end in ends if end["state"] in ("SUCCEEDED", "FAILED")]


# --- sizes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "sizes"), [("1", (1, 1)), ("7", (7, 7)), ("2:20", (2, 20)), ("3:3", (3, 3))])
def test_the_number_of_nodes_is_one_number_or_two(text: str, sizes: tuple[int, int]) -> None:
    assert parse_min_max_nnodes(text) == sizes


def test_three_numbers_of_nodes_are_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match=r"'2:20:30' has 3 parts; write N or \"MIN:MAX\""):
        parse_min_max_nnodes("2:20:30")


# --- elastic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conf", [CONF, f"'{CONF}'", f'"{CONF}"'], ids=["plain", "quoted", "double-quoted"])
def test_an_elastic_job_begins_with_the_least_nodes_after_the_last_call(
    in_process: InProcess, touched: Path, elastic: list[str], conf: str
) -> None:
    in_process.main(*elastic, f"--rdzv-conf={conf}", TOUCH_PY, f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}


def test_two_agents_on_one_machine_form_one_job(in_process: InProcess, touched: Path, elastic: list[str]) -> None:
    words = [*elastic, "--rdzv_conf=timeout=5", str(TOUCH_PY), f"--touch-file-dir={touched}"]
    other = multiprocessing.get_context("fork").Process(target=main, args=[words])

    def both() -> int | None:
        other.start()
        main(words)
        other.join(30)
        code = other.exitcode
        other.close()
        return code

    assert in_process.call(both) == 0
    assert names(touched) == {"0", "1", "2", "3", "4", "5", "6", "7"}


def test_two_launches_from_the_shell_form_one_job(launcher: Launcher, touched: Path, elastic: list[str]) -> None:
    words = [*elastic, TOUCH_PY, f"--touch-file-dir={touched}"]
    agents = [launcher.start(*words) for _ in range(2)]
    assert [agent.wait().code for agent in agents] == [0, 0]
    assert names(touched) == {"0", "1", "2", "3", "4", "5", "6", "7"}


# --- failures --------------------------------------------------------------------------------------------


def test_a_failed_worker_raises_child_failed_error_and_one_event_of_the_agent(
    in_process: InProcess, tmp_path: Path, elastic: list[str]
) -> None:
    log = tmp_path / "events.jsonl"
    options = [*elastic, f"--rdzv-conf='{CONF}'", "--max-restarts=0", f"--event-log-handler=jsonl={log}"]
    with pytest.raises(ChildFailedError) as caught:
        in_process.main(*options, TOUCH_PY, "--fail")
    rank, failure = caught.value.get_first_failure()
    assert rank in range(4)
    assert (failure.exitcode, failure.local_rank) == (1, rank)
    assert str(caught.value).startswith(f"{TOUCH_PY} FAILED: rank {rank} on ")
    assert "RuntimeError: told to fail" in str(caught.value)
    assert agent_events(log) == [("FAILED", f"ChildFailedError: {caught.value}")]


def test_a_job_that_succeeds_records_one_event_of_the_agent(
    in_process: InProcess, tmp_path: Path, touched: Path
) -> None:
    log = tmp_path / "events.jsonl"
    in_process.main("--nproc-per-node=2", f"--event-log-handler=jsonl={log}", TOUCH_PY, f"--touch-file-dir={touched}")
    assert agent_events(log) == [("SUCCEEDED", None)]


# --- a rendezvous from elsewhere -------------------------------------------------------------------------

HANDLER = """
from launcher_core import RendezvousInfo, RendezvousStoreInfo, hookimpl


class Unlucky(Exception):
    pass


class Handler:
    use_agent_store = False

    def get_backend(self): return "outside"
    def get_run_id(self): return "job"
    def is_closed(self): return False
    def set_closed(self): note("set_closed")
    def num_nodes_waiting(self): return 0

    def next_rendezvous(self):
        note("next_rendezvous")
        if {fails}:
            raise Unlucky("the die was cast")
        return RendezvousInfo(None, 0, 1, RendezvousStoreInfo("localhost", 29500))

    def shutdown(self):
        note("shutdown")
        return True


def note(what):
    with open({log!r}, "a") as file:
        file.write(what + "\\n")


@hookimpl
def launcher_make_rendezvous():
    return Handler()
"""


@pytest.fixture
def handler(distributions: Distributions, tmp_path: Path) -> Any:
    """Installs a rendezvous `outside`, whose next_rendezvous may fail; `said()` is what was asked of it."""
    log = tmp_path / "asked"

    class Installed:
        def install(self, *, fails: bool = False) -> None:
            source = HANDLER.format(log=str(log), fails=fails)
            distributions.install(
                "outside", "[launcher.rendezvous]\noutside = outside_rendezvous\n", outside_rendezvous=source
            )

        def said(self) -> list[str]:
            return log.read_text().split()

    return Installed()


def test_a_rendezvous_is_shut_down_once_after_success(in_process: InProcess, handler: Any, touched: Path) -> None:
    handler.install()
    in_process.main("--nproc-per-node=4", "--rdzv-backend=outside", TOUCH_PY, f"--touch-file-dir={touched}")
    assert names(touched) == {"0", "1", "2", "3"}
    assert handler.said() == ["next_rendezvous", "shutdown"]


def test_a_rendezvous_is_shut_down_once_after_workers_failed(in_process: InProcess, handler: Any) -> None:
    handler.install()
    with pytest.raises(ChildFailedError):
        in_process.main("--rdzv-backend=outside", "--max-restarts=2", BIN / "end_as_told.py", "7")
    assert handler.said() == ["next_rendezvous", "next_rendezvous", "next_rendezvous", "shutdown"]


def test_a_rendezvous_is_not_shut_down_for_the_others_when_a_signal_stops_one_node(
    launcher: Launcher, handler: Any, touched: Path
) -> None:
    handler.install()
    running = launcher.start("--rdzv-backend=outside", BIN / "stay.py", touched, "die")
    until(lambda: names(touched) == {"0"}, "the worker is there")
    running.signal(signal.SIGTERM)
    assert running.wait().code == 128 + signal.SIGTERM
    assert handler.said() == ["next_rendezvous"]


def test_what_the_agent_raises_reaches_the_caller_and_is_recorded_once(
    in_process: InProcess, handler: Any, tmp_path: Path
) -> None:
    handler.install(fails=True)
    log = tmp_path / "events.jsonl"
    with pytest.raises(Exception, match="the die was cast") as caught:
        in_process.main("--rdzv-backend=outside", f"--event-log-handler=jsonl={log}", TOUCH_PY)
    assert type(caught.value).__name__ == "Unlucky"
    assert agent_events(log) == [("FAILED", "Unlucky: the die was cast")]
    assert handler.said() == ["next_rendezvous", "shutdown"]


def test_the_traceback_of_a_defect_is_shown_by_the_command_line(launcher: Launcher, handler: Any) -> None:
    handler.install(fails=True)
    result = launcher.run("--rdzv-backend=outside", TOUCH_PY)
    assert result.code == 1
    assert result.err.startswith("Traceback (most recent call last):\n")
    assert "\noutside_rendezvous.Unlucky: the die was cast\n" in result.err
    assert "--rdzv-backend=outside" in result.err.splitlines()[-1]
