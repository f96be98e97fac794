"""Jobs that end as they should: with torchrun they hang, fail for no reason, or succeed though they failed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import Distributions
from launches import Launcher, Running, until

Script = Callable[..., Path]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def c10d(port: int, nnodes: str, *more: str) -> list[str]:
    """Options of an elastic job on this machine."""
    place = ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=job"]
    return [f"--nnodes={nnodes}", *place, "--rdzv-conf=last_call_timeout=0.1,join_timeout=20", *more]


def static(port: int, node_rank: int, *more: str) -> list[str]:
    """Options of one of two nodes with fixed ranks."""
    return ["--nnodes=2", f"--node-rank={node_rank}", f"--master-port={port}", *more]


def kill(running: Running) -> None:
    """End an agent as a machine that loses power does; its workers go with it."""
    running.signal(signal.SIGKILL)
    running.wait()


# --- nodes come and go -----------------------------------------------------------------------------------


def test_a_running_job_grows_when_a_second_node_comes(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave(f'{rank} of {world}')\nif world == '1': stay()\n")
    first = launcher.start(*c10d(free_port, "1:2"), worker)
    until(lambda: names(here) == {"0 of 1"}, "the first node works alone")
    second = launcher.start(*c10d(free_port, "1:2"), worker)
    assert (first.wait(20).code, second.wait(20).code) == (0, 0)
    assert names(here) == {"0 of 1", "0 of 2", "1 of 2"}
    assert " joined; regrouping, which costs no restart\n" in first.err


def test_a_node_that_was_killed_is_replaced_by_another(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    host = launcher.start(*c10d(free_port, "2"), script(ONCE_MORE))
    until(lambda: listens(free_port), "the first node hosts")
    other = launcher.start(*c10d(free_port, "2"), script(ONCE_MORE))
    until(lambda: names(here) == {"0", "1"}, "both nodes work")
    kill(other)
    until(lambda: " is gone: its connection broke; regrouping" in host.err, "the loss was noticed")
    (here / "lost").touch()
    replacement = launcher.start(*c10d(free_port, "2"), script(ONCE_MORE))
    assert (host.wait(20).code, replacement.wait(20).code) == (0, 0)
    assert names(here) == {"0", "1", "lost", "0 again", "1 again"}


ONCE_MORE = "leave(rank)\nif not (here / 'lost').exists(): stay()\nleave(f'{rank} again')\n"


def listens(port: int) -> bool:
    return any(f":{port:04X} 00000000:0000 0A" in line for line in Path("/proc/net/tcp").read_text().splitlines())


@pytest.mark.parametrize(("first", "second"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")])
def test_all_workers_meet_at_one_address_whichever_node_came_first(
    launcher: Launcher, script: Script, here: Path, free_port: int, first: str, second: str
) -> None:
    worker = script(
        "leave(f'{rank} of {world}', os.environ['MASTER_ADDR'] + ':' + os.environ['MASTER_PORT'])\n"
        "if world == '1': stay()\n"
    )
    one = launcher.start(*c10d(free_port, "1:2", f"--local-addr={first}"), worker)
    until(lambda: "0 of 1" in names(here), "the first node works alone")
    two = launcher.start(*c10d(free_port, "1:2", f"--local-addr={second}"), worker)
    assert (one.wait(20).code, two.wait(20).code) == (0, 0)
    assert texts(here) == dict.fromkeys(("0 of 1", "0 of 2", "1 of 2"), f"{first}:{free_port}")


def test_a_spare_node_takes_the_place_of_one_that_is_lost(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script(ONCE_MORE)
    host = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: listens(free_port), "the first node hosts")
    other = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: names(here) == {"0", "1"}, "both nodes work")
    spare = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: "the job is full; this node is a spare" in spare.err, "the third is a spare")
    (here / "lost").touch()
    kill(other)
    assert (host.wait(20).code, spare.wait(20).code) == (0, 0)
    assert names(here) == {"0", "1", "lost", "0 again", "1 again"}


# --- restarts --------------------------------------------------------------------------------------------

STORE = """
from launcher_plugins.c10d_store.client import StoreClient

store = StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), 10)
leave(f"{rank}.{attempt}", str(store.add("times", 1)) if rank == "0" else "")
store.barrier("all", int(world))
sys.exit(attempt == 0 and rank == "1")
"""


@pytest.mark.parametrize("place", ["--rdzv-backend=c10d", "--rdzv-backend=static"])
def test_a_restarted_job_meets_at_an_empty_store(
    launcher: Launcher, script: Script, here: Path, free_port: int, place: str
) -> None:
    options = [place, f"--rdzv-endpoint=127.0.0.1:{free_port}", "--nproc-per-node=2", "--max-restarts=1"]
    assert launcher.run(*options, script(STORE)).code == 0
    assert texts(here) == {"0.0": "1", "1.0": "", "0.1": "1", "1.1": ""}


@pytest.mark.parametrize("fixed", [True, False], ids=["static", "c10d"])
def test_a_failure_on_one_node_restarts_the_workers_of_all_and_they_count_alike(
    launcher: Launcher, script: Script, here: Path, free_port: int, fixed: bool
) -> None:
    worker = script(
        "leave(f'{rank}.{attempt}')\n"
        "until(f'0.{attempt}'); until(f'1.{attempt}')\n"
        "if attempt < 2 and rank == '1': sys.exit(3)\n"
        "if attempt < 2: stay()\n"
    )
    places = [static(free_port, rank) if fixed else c10d(free_port, "2") for rank in (0, 1)]
    nodes = [launcher.start(*place, "--max-restarts=3", worker) for place in places]
    assert [node.wait(20).code for node in nodes] == [0, 0]
    assert names(here) == {f"{rank}.{attempt}" for rank in (0, 1) for attempt in (0, 1, 2)}
    for node in nodes:
        said = [line for line in node.err.splitlines() if line.startswith("launcher: rank 1 ")]
        assert [line.rpartition("; ")[2] for line in said] == ["restart 1 of 3", "restart 2 of 3"]


def test_a_change_of_members_costs_no_restart_and_is_no_attempt(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave(f'{rank} of {world}', str(attempt))\nif world == '1': stay()\n")
    first = launcher.start(*c10d(free_port, "1:2"), worker)
    until(lambda: "0 of 1" in names(here), "the first node works alone")
    second = launcher.start(*c10d(free_port, "1:2"), worker)
    assert (first.wait(20).code, second.wait(20).code) == (0, 0)
    assert texts(here) == dict.fromkeys(("0 of 1", "0 of 2", "1 of 2"), "0")


def test_logs_of_an_earlier_attempt_are_kept(
    launcher: Launcher, script: Script, here: Path, tmp_path: Path, free_port: int
) -> None:
    worker = script(
        "print(f'attempt {attempt} of {world}', flush=True)\n"
        "leave(f'{rank} of {world}.{attempt}')\n"
        "if world == '1': stay()\n"
        "until(f'{1 - int(rank)} of 2.{attempt}')\n"
        "if attempt == 0: sys.exit(4)\n"
    )
    options = ["--max-restarts=1", "--redirects=1", f"--log-dir={tmp_path / 'logs'}"]
    first = launcher.start(*c10d(free_port, "1:2"), *options, worker)
    until(lambda: "0 of 1.0" in names(here), "the first node works alone")
    second = launcher.start(*c10d(free_port, "1:2", "--max-restarts=1"), worker)
    assert (first.wait(20).code, second.wait(20).code) == (0, 0)
    logs = {path.parts[-3]: path.read_text() for path in (tmp_path / "logs").rglob("stdout.log")}
    assert logs == {"attempt_0": "attempt 0 of 1\n", "attempt_0.1": "attempt 0 of 2\n", "attempt_1": "attempt 1 of 2\n"}


# --- the end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fixed", [True, False], ids=["static", "c10d"])
def test_a_node_that_is_done_hears_at_once_that_another_failed(
    launcher: Launcher, script: Script, here: Path, free_port: int, fixed: bool
) -> None:
    worker = script("leave(rank, str(os.getpid()))\nif rank == '1':\n    until('fail')\n    sys.exit(5)\n")
    places = [static(free_port, rank) if fixed else c10d(free_port, "2") for rank in (0, 1)]
    nodes = [launcher.start(*place, worker) for place in places]
    until(lambda: names(here) == {"0", "1"} and not alive(texts(here)["0"]), "rank 0 is done")
    (here / "fail").touch()
    ends = [node.wait(10) for node in nodes]
    assert [end.code for end in ends] == [1, 1]
    assert all("FAILED: rank 1 on " in end.err and "ended with exit code 5" in end.err for end in ends)


def alive(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_an_interrupt_that_a_script_raises_ends_the_launch(launcher: Launcher, script: Script, method: str) -> None:
    worker = script("raise KeyboardInterrupt")
    options = ["--run-path", f"--start-method={method}", "--exit-code=worker"]
    assert launcher.run(*options, worker, timeout=20).code == 130


WATCH = """
from launcher_core import hookimpl


@hookimpl
def launcher_make_watch(config):
    return Watch()


class Watch:
    def start(self, pids, alarm):
        alarm("local rank 0 is stuck in the kernel")

    def stop(self):
        pass
"""


def test_a_job_whose_workers_are_stuck_has_failed(
    launcher: Launcher, script: Script, distributions: Distributions
) -> None:
    distributions.install("stuck", "[launcher.policies]\nstuck = stuck_watch\n", stuck_watch=WATCH)
    result = launcher.run("--policy=stuck", script("stay()"))
    assert result.code == 1
    assert result.err.splitlines()[0] == "launcher: local rank 0 is stuck in the kernel; stopping the workers"


def test_when_the_host_is_lost_the_others_say_so_and_end(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave(rank)\nstay()\n")
    host, other = (launcher.start(*static(free_port, rank), worker) for rank in (0, 1))
    until(lambda: names(here) == {"0", "1"}, "both nodes work")
    kill(host)
    result = other.wait(10)
    assert result.code == 75
    assert result.err.splitlines()[-1] == (
        f"launcher: error: the node that hosts the job at 127.0.0.1:{free_port} is gone: its agent died, was killed, "
        "or lost this node; nothing answered for 4.5 s (--rdzv-conf host_loss_timeout)"
    )


def test_a_host_that_is_started_again_at_once_finds_its_job(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave(rank + (' again' if (here / 'lost').exists() else ''))\nuntil('go')\n")
    host = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: listens(free_port), "the first node hosts")
    other = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: names(here) == {"0", "1"}, "both nodes work")
    (here / "lost").touch()
    kill(host)
    host = launcher.start(*c10d(free_port, "2"), worker)
    until(lambda: {"0 again", "1 again"} <= names(here), "both nodes work again")
    (here / "go").touch()
    assert (host.wait(20).code, other.wait(20).code) == (0, 0)


def test_two_nodes_with_one_rank_are_told_apart_and_the_job_goes_on(
    launcher: Launcher, script: Script, here: Path, free_port: int
) -> None:
    worker = script("leave(rank)\nuntil('go')\n")
    nodes = [launcher.start(*static(free_port, rank), worker) for rank in (0, 1)]
    until(lambda: names(here) == {"0", "1"}, "both nodes work")
    third = launcher.run(*static(free_port, 1), worker)
    assert third.code == 2
    assert third.err.startswith(f"launcher: error: 127.0.0.1:{free_port} refused this agent: node rank 1 is taken by ")
    assert third.err.endswith("; give each node its own --node-rank\n")
    (here / "go").touch()
    assert [node.wait(20).code for node in nodes] == [0, 0]
