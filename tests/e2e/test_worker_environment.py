"""What a worker is given: its variables, one for one, its words, byte for byte, and everything it inherits."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from in_process import InProcess
from launches import Launcher

BIN = Path(__file__).parent / "bin"
DUMP = BIN / "dump_worker.py"
NOTICE = "launcher: OMP_NUM_THREADS=1 for each of the {} workers; set the variable to have more threads\n"


class Given(NamedTuple):
    """One start of one worker."""

    environ: dict[str, str]
    argv: list[str]
    executable: str
    cwd: str


@pytest.fixture
def dumps(tmp_path: Path) -> Path:
    """Where workers leave what they were given."""
    folder = tmp_path / "dumps"
    folder.mkdir()
    return folder


def starts(folder: Path) -> dict[str, Given]:
    """What each start was given, by `RANK.RESTARTS`."""
    return {path.stem: Given(**json.loads(path.read_text())) for path in folder.glob("*.json")}


def added(given: Given, inherited: dict[str, str]) -> dict[str, str]:
    """The variables that are not as the launcher itself has them. None may be missing."""
    assert inherited.keys() <= given.environ.keys()
    return {name: value for name, value in given.environ.items() if inherited.get(name) != value}


def taken(environ: dict[str, str], *names: str) -> list[str]:
    """The values of these variables, which are taken out."""
    return [environ.pop(name) for name in names]


# --- the variables ---------------------------------------------------------------------------------------


def test_the_variables_of_one_node_are_these_and_no_others(launcher: Launcher, dumps: Path) -> None:
    launcher.env["LC_ALL"] = "C.UTF-8"  # else Python itself sets LC_CTYPE
    result = launcher.run("--nproc-per-node=2", DUMP, dumps)
    assert (result.code, result.err) == (0, NOTICE.format(2))
    found = {start: added(given, launcher.env) for start, given in starts(dumps).items()}
    assert found.keys() == {"0.0", "1.0"}
    (port,) = {env["MASTER_PORT"] for env in found.values()}
    (run_id,) = {env["TORCHELASTIC_RUN_ID"] for env in found.values()}
    assert int(port) in range(1, 65536)
    assert re.fullmatch("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", run_id)
    for rank in ("0", "1"):
        env = found[f"{rank}.0"]
        error_file, mark = taken(env, "TORCHELASTIC_ERROR_FILE", "LAUNCHER_AGENT")
        assert re.fullmatch(rf"{launcher.running[0].pid}-[0-9a-f]{{16}}", mark)
        temporary = re.escape(launcher.env["TMPDIR"])
        assert re.fullmatch(
            rf"{temporary}/torchelastic_\w{{8}}/{run_id}_\w{{8}}/attempt_0/{rank}/error.json", error_file
        )
        assert env == {
            "LOCAL_RANK": rank,
            "RANK": rank,
            "GROUP_RANK": "0",
            "ROLE_RANK": rank,
            "ROLE_NAME": "default",
            "LOCAL_WORLD_SIZE": "2",
            "WORLD_SIZE": "2",
            "GROUP_WORLD_SIZE": "1",
            "ROLE_WORLD_SIZE": "2",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_RUN_ID": run_id,
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
            "OMP_NUM_THREADS": "1",
        }


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_script_inside_the_workers_interpreter_has_the_same_variables(
    launcher: Launcher, dumps: Path, method: str
) -> None:
    launcher.env["LC_ALL"] = "C.UTF-8"
    words = ["--run-path", f"--start-method={method}", "--rdzv-id=job", "--rdzv-backend=c10d", DUMP, dumps]
    assert launcher.run(*words).code == 0
    env = added(starts(dumps)["0.0"], launcher.env)
    taken(env, "LAUNCHER_AGENT", "MASTER_PORT", "TORCHELASTIC_ERROR_FILE")
    assert env == {
        "LOCAL_RANK": "0",
        "RANK": "0",
        "GROUP_RANK": "0",
        "ROLE_RANK": "0",
        "ROLE_NAME": "default",
        "LOCAL_WORLD_SIZE": "1",
        "WORLD_SIZE": "1",
        "GROUP_WORLD_SIZE": "1",
        "ROLE_WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "TORCHELASTIC_MAX_RESTARTS": "0",
        "TORCHELASTIC_RUN_ID": "job",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    }


RANKS = (
    "GROUP_RANK",
    "GROUP_WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "RANK",
    "WORLD_SIZE",
    "ROLE_NAME",
    "ROLE_RANK",
    "ROLE_WORLD_SIZE",
)


def ranks(folder: Path) -> list[tuple[str, ...]]:
    """The variables about ranks of every worker, in RANKS' order, by rank."""
    found = (tuple(given.environ[name] for name in RANKS) for given in starts(folder).values())
    return sorted(found, key=lambda values: int(values[4]))


def test_two_nodes_of_different_size_number_their_workers_without_a_gap(
    launcher: Launcher, dumps: Path, free_port: int
) -> None:
    place = ["--nnodes=2", f"--master-port={free_port}", "--rdzv-id=job"]
    agents = [
        launcher.start(*place, f"--node-rank={rank}", f"--nproc-per-node={nproc}", DUMP, dumps)
        for rank, nproc in ((0, 2), (1, 1))
    ]
    assert [agent.wait().code for agent in agents] == [0, 0]
    assert ranks(dumps) == [
        ("0", "2", "0", "2", "0", "3", "default", "0", "3"),
        ("0", "2", "1", "2", "1", "3", "default", "1", "3"),
        ("1", "2", "0", "1", "2", "3", "default", "2", "3"),
    ]
    common = {
        tuple(given.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))
        for given in starts(dumps).values()
    }
    assert common == {("127.0.0.1", str(free_port), "job")}


def test_workers_of_different_roles_are_ranked_within_their_role(
    launcher: Launcher, dumps: Path, free_port: int
) -> None:
    place = ["--nnodes=3", f"--master-port={free_port}"]
    agents = [
        launcher.start(*place, f"--node-rank={rank}", f"--nproc-per-node={nproc}", f"--role={role}", DUMP, dumps)
        for rank, (role, nproc) in enumerate((("trainer", 1), ("ps", 2), ("trainer", 1)))
    ]
    assert [agent.wait().code for agent in agents] == [0, 0, 0]
    assert ranks(dumps) == [
        ("0", "3", "0", "1", "0", "4", "trainer", "0", "2"),
        ("1", "3", "0", "2", "1", "4", "ps", "0", "2"),
        ("1", "3", "1", "2", "2", "4", "ps", "1", "2"),
        ("2", "3", "0", "1", "3", "4", "trainer", "1", "2"),
    ]


def test_the_nodes_of_an_elastic_job_agree_on_everything_common(
    launcher: Launcher, dumps: Path, free_port: int
) -> None:
    place = ["--nnodes=1:2", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port}", "--rdzv-id=job"]
    agents = [launcher.start(*place, "--nproc-per-node=2", DUMP, dumps) for _ in range(2)]
    assert [agent.wait().code for agent in agents] == [0, 0]
    assert [values[:6] for values in ranks(dumps)] == [
        ("0", "2", "0", "2", "0", "4"),
        ("0", "2", "1", "2", "1", "4"),
        ("1", "2", "0", "2", "2", "4"),
        ("1", "2", "1", "2", "3", "4"),
    ]
    common = {(given.environ["MASTER_ADDR"], given.environ["MASTER_PORT"]) for given in starts(dumps).values()}
    assert common == {("localhost", str(free_port))}


def test_the_address_that_others_are_told_can_be_chosen(launcher: Launcher, dumps: Path) -> None:
    options = ["--local-addr=127.0.0.2", "--rdzv-backend=c10d"]
    assert launcher.run(*options, "--rdzv-conf=bind=0.0.0.0", DUMP, dumps).code == 0
    assert starts(dumps)["0.0"].environ["MASTER_ADDR"] == "127.0.0.2"


def test_an_address_that_does_not_answer_is_not_given_to_workers(launcher: Launcher, dumps: Path) -> None:
    result = launcher.run("--local-addr=127.0.0.2", "--rdzv-backend=c10d", "--rdzv-conf=bind=127.0.0.1", DUMP, dumps)
    assert starts(dumps)["0.0"].environ["MASTER_ADDR"] == "127.0.0.1"
    assert "127.0.0.2, which the host gives (--local-addr), does not answer here; this node's workers" in result.err


def test_restarts_are_counted_and_error_files_are_apart(launcher: Launcher, dumps: Path) -> None:
    assert launcher.run("--max-restarts=3", "--nproc-per-node=2", DUMP, dumps, "--fail-first").code == 0
    found = starts(dumps)
    counts = {
        start: (given.environ["TORCHELASTIC_RESTART_COUNT"], given.environ["TORCHELASTIC_MAX_RESTARTS"])
        for start, given in found.items()
        if start.endswith(".1")
    }
    assert counts == {"0.1": ("1", "3"), "1.1": ("1", "3")}
    files = {given.environ["TORCHELASTIC_ERROR_FILE"] for given in found.values()}
    assert len(files) == len(found)


def test_a_restart_is_counted_on_the_node_that_did_not_fail_too(
    launcher: Launcher, dumps: Path, free_port: int
) -> None:
    place = ["--nnodes=2", f"--master-port={free_port}", "--max-restarts=1"]
    failing = launcher.start(*place, "--node-rank=0", DUMP, dumps, "--fail-first")
    other = launcher.start(*place, "--node-rank=1", DUMP, dumps, "--fail-first")
    assert (failing.wait().code, other.wait().code) == (0, 0)
    assert {"0.1", "1.1"} <= starts(dumps).keys()


# --- what is inherited -----------------------------------------------------------------------------------


def test_nothing_that_the_launcher_inherited_is_taken_away_or_altered(launcher: Launcher, dumps: Path) -> None:
    strange = {
        "EMPTY": "",
        "BLANK": " ",
        "LINES": "a\nb\t c=d",
        "DOLLARS": "$HOME ${local_rank} $$",
        "UNICODE": "naïve ☃",
        "NO_UTF8": "\udcff\udc80",
        "with.dots-and-dashes": "1",
        "PET_ROLE": "trainer",
        "PYTHONHASHSEED": "7",
        "TORCH_NCCL_ASYNC_ERROR_HANDLING": "3",
        "CUDA_VISIBLE_DEVICES": "GPU-1, GPU-2",
        "NODE_RANK": "5",
        "TORCHELASTIC_SOMETHING": "else",
    }
    assert launcher.run(DUMP, dumps, env=strange).code == 0
    (given,) = starts(dumps).values()
    assert {name: given.environ.get(name) for name in strange} == strange
    assert given.environ["ROLE_NAME"] == "trainer"


def test_a_launcher_inside_a_worker_gives_its_own_workers_their_own_ranks(launcher: Launcher, dumps: Path) -> None:
    inner = ["--no-python", sys.executable, "-m", "launcher_core", "--nproc-per-node=2", "--rdzv-id=inner"]
    words = ["--nproc-per-node=1", *inner, "--rdzv-backend=c10d", DUMP, dumps]
    assert launcher.run(*words).code == 0
    assert [values[4:6] for values in ranks(dumps)] == [("0", "2"), ("1", "2")]
    assert {given.environ["TORCHELASTIC_RUN_ID"] for given in starts(dumps).values()} == {"inner"}


def test_a_worker_runs_where_the_launcher_was_started(launcher: Launcher, dumps: Path, tmp_path: Path) -> None:
    assert launcher.run(DUMP, dumps).code == 0
    (given,) = starts(dumps).values()
    assert (given.cwd, given.executable) == (str(tmp_path), sys.executable)


# --- threads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nproc", "env", "expected", "said"),
    [
        (1, {}, None, ""),
        (2, {}, "1", NOTICE.format(2)),
        (2, {"OMP_NUM_THREADS": "6"}, "6", ""),
        (2, {"OMP_NUM_THREADS": ""}, "", ""),
    ],
)
def test_several_workers_have_one_thread_each_unless_told_otherwise(
    launcher: Launcher, dumps: Path, nproc: int, env: dict[str, str], expected: str | None, said: str
) -> None:
    result = launcher.run(f"--nproc-per-node={nproc}", DUMP, dumps, env=env)
    assert (result.code, result.err) == (0, said)
    assert {given.environ.get("OMP_NUM_THREADS") for given in starts(dumps).values()} == {expected}


# --- devices ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, [("0", None), ("1", None)]),
        ({"CUDA_VISIBLE_DEVICES": "5, 7"}, [("5", None), ("7", None)]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a,MIG-b,2"}, [("GPU-a", None), ("MIG-b", None)]),
        ({"HIP_VISIBLE_DEVICES": "3,4"}, [("3", "3"), ("4", "4")]),
        ({"HIP_VISIBLE_DEVICES": "3,4", "CUDA_VISIBLE_DEVICES": "8,9"}, [("3", "3"), ("4", "4")]),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "8,9"}, [("8", ""), ("9", "")]),
    ],
)
def test_every_worker_sees_its_own_device_as_the_first(
    launcher: Launcher, dumps: Path, env: dict[str, str], expected: list[tuple[str, str | None]]
) -> None:
    words = ["--virtual-local-rank", "--nproc-per-node=2", DUMP, dumps, "${local_rank}"]
    assert launcher.run(*words, env=env).code == 0
    found = sorted(starts(dumps).items())
    names = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
    assert [tuple(given.environ.get(name) for name in names) for _, given in found] == expected
    assert [given.environ["LOCAL_RANK"] for _, given in found] == ["0", "0"]
    assert [given.argv[2:] for _, given in found] == [["0"], ["1"]]


def test_an_empty_list_of_devices_stays_empty_for_the_only_worker(launcher: Launcher, dumps: Path) -> None:
    assert launcher.run("--virtual-local-rank", DUMP, dumps, env={"CUDA_VISIBLE_DEVICES": ""}).code == 0
    assert starts(dumps)["0.0"].environ["CUDA_VISIBLE_DEVICES"] == ""


# --- words -----------------------------------------------------------------------------------------------

STRANGE_WORDS = [
    "",
    " ",
    "--",
    "-",
    "-m",
    "-h",
    "--help",
    "--version",
    "--nproc-per-node=3",
    "--nnodes",
    "--dry-run",
    "=",
    "@file",
    "a b",
    "'quoted'",
    '"',
    "\\",
    "\n",
    "\t",
    "*",
    "~",
    "%s",
    "{}",
    "$",
    "$$",
    "$HOME",
    "$local_rank",
    "${rank}",
    "${",
    "naïve ☃",
    "\udcff\udc80",
    "--",
    "x" * 100_000,
]


@pytest.mark.parametrize("method", ["exec", "spawn", "fork", "forkserver"])
def test_every_word_behind_the_script_arrives_as_it_was_given(launcher: Launcher, dumps: Path, method: str) -> None:
    options = [] if method == "exec" else ["--run-path", f"--start-method={method}"]
    result = launcher.run(*options, DUMP, dumps, *STRANGE_WORDS)
    assert (result.code, result.err) == (0, "")
    assert starts(dumps)["0.0"].argv == [str(DUMP), str(dumps), *STRANGE_WORDS]


def test_words_arrive_unaltered_from_inside_a_process_too(in_process: InProcess, dumps: Path) -> None:
    in_process.main(DUMP, dumps, *STRANGE_WORDS)
    assert starts(dumps)["0.0"].argv == [str(DUMP), str(dumps), *STRANGE_WORDS]


@pytest.mark.parametrize("method", ["exec", "spawn"])
def test_the_local_rank_can_be_written_into_arguments(launcher: Launcher, dumps: Path, method: str) -> None:
    options = [] if method == "exec" else ["--run-path", f"--start-method={method}"]
    words = ["--device=cuda:${local_rank}", "${local_rank}${local_rank}", "$${local_rank}", "local_rank"]
    assert launcher.run(*options, "--nproc-per-node=2", DUMP, dumps, *words).code == 0
    assert [starts(dumps)[f"{rank}.0"].argv[2:] for rank in (0, 1)] == [
        [f"--device=cuda:{rank}", f"{rank}{rank}", f"${rank}", "local_rank"] for rank in (0, 1)
    ]


def test_a_program_without_python_gets_its_words_as_they_are(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "words.sh"
    script.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" > {tmp_path}/words\n')
    script.chmod(0o755)
    assert launcher.run("--no-python", script, *STRANGE_WORDS).code == 0
    assert (tmp_path / "words").read_bytes().split(b"\0")[:-1] == [os.fsencode(word) for word in STRANGE_WORDS]
