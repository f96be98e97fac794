"""A rendezvous of torch elastic's shape, from another distribution: its calls, its end, its errors; and two nodes."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from launches import Launcher, Running, until
from sites import Site

ALONE = ("--rdzv-backend=outside-alone", "--monitor-interval=0.05")
JOINED = "next_rendezvous rendezvous"
CLOSED = "set_closed rendezvous"
SHUT_DOWN = "shutdown rendezvous"


@pytest.fixture
def noted(launcher: Launcher, tmp_path: Path) -> Callable[[], list[str]]:
    """The calls that the launcher made, each with the name of its thread."""
    path = tmp_path / "calls"
    launcher.env["OUTSIDE_CALLS"] = str(path)
    return lambda: path.read_text().splitlines() if path.exists() else []


def test_a_rendezvous_is_shut_down_once_when_all_workers_succeed(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    done = launcher.run(*ALONE, "--nproc-per-node=2", script("pass"))

    assert (done.code, noted()) == (0, [JOINED, SHUT_DOWN]), done.err


def test_a_rendezvous_is_shut_down_once_when_a_worker_fails(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    done = launcher.run(*ALONE, script("sys.exit(3)"))

    assert (done.code, noted()) == (1, [JOINED, SHUT_DOWN]), done.err


def test_every_restart_is_a_rendezvous_and_the_end_one_shutdown(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    worker = script("print(os.environ['TORCHELASTIC_RESTART_COUNT'], flush=True); sys.exit(3)")

    done = launcher.run(*ALONE, "--max-restarts=2", worker)

    assert (done.code, done.out) == (1, "0\n1\n2\n"), done.err
    assert noted() == [JOINED, JOINED, JOINED, SHUT_DOWN]


def test_a_rendezvous_is_not_shut_down_by_a_signal_because_that_would_end_the_job_for_all(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    running = launcher.start(*ALONE, script("print('here', flush=True); sys.stdin.read(); import time; time.sleep(60)"))
    until(lambda: running.out == "here\n", "the worker's line")
    running.signal(signal.SIGTERM)
    done = running.wait()

    assert (done.code, noted()) == (128 + signal.SIGTERM, [JOINED]), done.err


def test_an_agent_that_fails_by_itself_shuts_the_rendezvous_down_and_shows_the_plugins_traceback(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    done = launcher.run(*ALONE, "--start-method=outside-failing", script("print('started')"))

    assert (done.code, done.out) == (1, "")
    assert done.err.rstrip().endswith("RuntimeError: this start method has a defect")
    assert noted() == [JOINED, "shutdown rendezvous", "starter closed"]


def test_main_raises_the_agents_own_exception_and_records_it_once(
    crowded: Site, script: Callable[[str], Path], tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    words = ["--start-method=outside-failing", f"--event-log-handler=outside-lines={lines}", str(script("pass"))]
    caller = tmp_path / "caller.py"
    caller.write_text(
        f"from launcher_core.run import main\ntry:\n    main({words!r})\n"
        "except RuntimeError as error:\n    print('raised', error)\n"
    )

    assert crowded.run(caller) == "raised this start method has a defect\n"
    assert lines.read_text().splitlines() == [
        "AGENT RENDEZVOUS",
        "AGENT ASSIGN_WORKER_RANKS",
        "AGENT FAILED RuntimeError: this start method has a defect",
    ]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        ("graceful", 0, ""),
        ("closed", 1, "launcher: error: nobody came\n"),
    ],
)
def test_a_rendezvous_error_of_another_distribution_is_known_by_its_name(
    error: str,
    code: int,
    text: str,
    launcher: Launcher,
    script: Callable[[str], Path],
    noted: Callable[[], list[str]],
) -> None:
    done = launcher.run(*ALONE, f"--rdzv-conf=raise={error}", script("print('started')"))

    assert (done.code, done.out, done.err) == (code, "", text)
    assert noted() == [JOINED, SHUT_DOWN]


@pytest.mark.parametrize(("error", "kind"), [("os", "OSError"), ("other", "RuntimeError")])
def test_any_other_error_of_a_rendezvous_says_whose_it_is(
    error: str, kind: str, launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    done = launcher.run(*ALONE, f"--rdzv-conf=raise={error}", script("print('started')"))

    assert (done.code, done.out) == (1, "")
    assert done.err.endswith(f"{kind}: nobody came\nraised by the rendezvous handler of --rdzv-backend=outside-alone\n")
    assert noted() == [JOINED, SHUT_DOWN]


def test_an_error_of_the_shutdown_is_told_and_does_not_hide_the_result(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    done = launcher.run(*ALONE, "--rdzv-conf=shutdown=other", script("print('done')"))

    assert (done.code, done.out) == (0, "done\n")
    told = "RuntimeError: the door is stuck; raised by the rendezvous handler of --rdzv-backend=outside-alone"
    assert done.err == f"launcher: something could not be closed: {told}\n"
    assert noted() == [JOINED, SHUT_DOWN]


def test_a_policy_that_gives_the_job_up_closes_the_rendezvous_for_all_nodes(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    words = (*ALONE, "--max-restarts=3", "--policy=outside-no-second-chance", script("sys.exit(77)"))

    done = launcher.run(*words)

    assert done.code == 1
    assert "a policy decided not to restart" in done.err
    assert noted() == [JOINED, "judge 0 77 0 3", CLOSED, SHUT_DOWN]


def test_a_node_that_a_policy_keeps_out_does_not_close_the_job_for_the_others(
    launcher: Launcher, script: Callable[[str], Path], noted: Callable[[], list[str]], tmp_path: Path
) -> None:
    (tmp_path / "door").touch()

    done = launcher.run(
        *ALONE, "--policy=outside-door", script("print('started')"), env={"OUTSIDE_DOOR": str(tmp_path / "door")}
    )

    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1] == "launcher: error: this node must not join round 0: its door is closed"
    assert noted() == ["admit 1 workers to round 0"]


# --- two nodes --------------------------------------------------------------------------------------------


class Pair:
    """Two agents of one job on this machine, which meet in a directory."""

    def __init__(self, launcher: Launcher, folder: Path) -> None:
        self._launcher = launcher
        self._folder = folder

    def start(self, worker: Path, *words: object, nproc: int = 1) -> Running:
        """Begin one of the nodes."""
        return self._launcher.start(
            "--nnodes=2",
            f"--nproc-per-node={nproc}",
            "--rdzv-backend=outside-directory",
            f"--rdzv-endpoint={self._folder}",
            "--rdzv-id=pair",
            "--monitor-interval=0.05",
            *words,
            worker,
        )


@pytest.fixture
def pair(launcher: Launcher, tmp_path: Path) -> Pair:
    """Two nodes to be."""
    folder = tmp_path / "shared"
    folder.mkdir()
    return Pair(launcher, folder)


SHOW = """
import json
names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE",
         "MASTER_PORT", "TORCHELASTIC_RESTART_COUNT")
print(json.dumps({name: int(os.environ[name]) for name in names}), flush=True)
"""


def test_two_agents_agree_on_all_ranks_through_the_store_of_their_round(
    pair: Pair, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    worker = script(SHOW)

    nodes = [pair.start(worker, nproc=2), pair.start(worker, nproc=3)]
    done = [node.wait() for node in nodes]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    shown = [[json.loads(line) for line in one.out.splitlines()] for one in done]
    everyone = [worker for node in shown for worker in node]
    assert sorted(worker["RANK"] for worker in everyone) == [0, 1, 2, 3, 4]
    assert {(worker["WORLD_SIZE"], worker["ROLE_WORLD_SIZE"], worker["GROUP_WORLD_SIZE"]) for worker in everyone} == {
        (5, 5, 2)
    }
    assert all(worker["RANK"] == worker["ROLE_RANK"] for worker in everyone)
    assert len({worker["MASTER_PORT"] for worker in everyone}) == 1
    for node in shown:
        first = min(worker["RANK"] for worker in node)
        assert all(worker["RANK"] == first + worker["LOCAL_RANK"] for worker in node)
        assert {worker["GROUP_RANK"] for worker in node} == {0 if first == 0 else 1}
    assert sorted(line.split()[0] for line in noted()) == ["next_rendezvous"] * 2 + ["shutdown"] * 2


def test_a_role_counts_its_own_workers_only(pair: Pair, script: Callable[[str], Path]) -> None:
    worker = script(SHOW)

    nodes = [pair.start(worker, "--role=reader", nproc=2), pair.start(worker, "--role=trainer", nproc=1)]
    done = [node.wait() for node in nodes]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    shown = [[json.loads(line) for line in one.out.splitlines()] for one in done]
    roles = [sorted((worker["ROLE_RANK"], worker["ROLE_WORLD_SIZE"]) for worker in node) for node in shown]
    assert roles == [[(0, 2), (1, 2)], [(0, 1)]]
    assert sorted(worker["RANK"] for node in shown for worker in node) == [0, 1, 2]


def test_a_failure_on_one_node_restarts_the_workers_of_both(
    pair: Pair, script: Callable[[str], Path], tmp_path: Path, noted: Callable[[], list[str]]
) -> None:
    body = """
round = sum(line.startswith("next_rendezvous") for line in open(os.environ["OUTSIDE_CALLS"])) // 2
print("round", round, "of", os.environ["LOCAL_WORLD_SIZE"], flush=True)
if round == 1 and os.environ["LOCAL_WORLD_SIZE"] == "2":
    sys.exit(int(os.environ["LOCAL_RANK"]))
if round == 1:
    import time
    time.sleep(60)
"""
    worker = script(body)

    failing = pair.start(worker, "--max-restarts=1", nproc=2)
    other = pair.start(worker, "--max-restarts=1", nproc=1)
    done = [failing.wait(), other.wait()]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert "round 2 of 2\nround 2 of 2\n" in done[0].out
    assert done[1].out.splitlines()[-1] == "round 2 of 1"
    assert "restart 1 of 1" in done[0].err
    assert "1 node(s) wait to be let in; regrouping, which costs no restart" in done[1].err


def test_a_node_that_is_done_waits_for_the_other_before_it_closes_the_job(
    pair: Pair, script: Callable[[str], Path], tmp_path: Path, noted: Callable[[], list[str]]
) -> None:
    body = f"""
import select
print("ready", flush=True)
while os.environ["LOCAL_WORLD_SIZE"] == "1" and not os.path.exists({str(tmp_path / "go")!r}):
    select.select([], [], [], 0.01)
"""
    worker = script(body)

    slow, fast = pair.start(worker), pair.start(worker, nproc=2)
    until(lambda: "ready" in slow.out and fast.out.count("ready") == 2, "the workers' lines")
    store = tmp_path / "shared/pair/round0/store"
    until(lambda: list(store.glob("*num_members")), "the fast node at the exit barrier")
    before = [line for line in noted() if line.startswith("shutdown")]
    ended = [slow.process.poll(), fast.process.poll()]
    (tmp_path / "go").touch()
    done = [slow.wait(), fast.wait()]

    assert (before, ended) == ([], [None, None])
    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert sorted(line for line in noted() if line.startswith("shutdown")) == sorted(
        f"shutdown {node.pid}" for node in (slow, fast)
    )


def test_a_node_that_waits_in_vain_at_the_exit_barrier_ends_as_succeeded(
    pair: Pair, script: Callable[[str], Path], noted: Callable[[], list[str]]
) -> None:
    body = "print('ready', flush=True)\nif os.environ['LOCAL_WORLD_SIZE'] == '1':\n    import time; time.sleep(60)"
    worker = script(body)

    stuck = pair.start(worker)
    fast = pair.start(worker, "--exit-barrier-timeout=0.5", nproc=2)
    done = fast.wait()
    stuck.signal(signal.SIGTERM)
    other = stuck.wait()

    assert (done.code, other.code) == (0, 128 + signal.SIGTERM), done.err
    assert "the other nodes did not finish in time (--exit-barrier-timeout); this one succeeded" in done.err
    assert [line for line in noted() if line.startswith("shutdown")] == []


def test_a_signal_ends_one_node_and_leaves_the_job_to_the_other(
    pair: Pair, script: Callable[[str], Path], tmp_path: Path, noted: Callable[[], list[str]]
) -> None:
    body = f"""
import select
print("ready", flush=True)
while not os.path.exists({str(tmp_path / "go")!r}):
    select.select([], [], [], 0.01)
"""
    worker = script(body)

    leaving = pair.start(worker)
    staying = pair.start(worker, "--exit-barrier-timeout=0.5")
    until(lambda: "ready" in leaving.out and "ready" in staying.out, "the workers' lines")
    leaving.signal(signal.SIGTERM)
    left = leaving.wait()
    (tmp_path / "go").touch()
    stayed = staying.wait()

    assert (left.code, stayed.code) == (128 + signal.SIGTERM, 0), (left.err, stayed.err)
    assert not (tmp_path / "shared/pair/closed").exists()


def test_a_node_whose_partner_never_comes_says_so(pair: Pair, script: Callable[[str], Path]) -> None:
    done = pair.start(script("print('started')"), "--rdzv-conf=timeout=0.2").wait()

    assert (done.code, done.out, done.err) == (1, "", "launcher: error: only some of 2 nodes came within 0.2 s\n")


def test_a_node_that_comes_when_the_job_is_over_is_told_so(pair: Pair, script: Callable[[str], Path]) -> None:
    worker = script("pass")
    for node in [pair.start(worker), pair.start(worker)]:
        assert node.wait().code == 0

    late = pair.start(worker).wait()

    assert (late.code, late.err) == (1, "launcher: error: job 'pair' is over\n")


def test_a_rendezvous_refuses_what_it_cannot_do_before_anything_starts(
    launcher: Launcher, script: Callable[[str], Path], tmp_path: Path
) -> None:
    where = ("--rdzv-backend=outside-directory", f"--rdzv-endpoint={tmp_path}", "--nnodes=1:2")

    done = launcher.run(*where, script("print('started')"))

    assert (done.code, done.out, done.err) == (
        2,
        "",
        "launcher: error: --nnodes=1:2: outside-directory (outside-launcher-plugin 2.5) does not let nodes come and "
        "go; write one number, or choose another --rdzv-backend\n",
    )
