"""Each example of docs/hooks.md, installed as it stands there and chosen by its flag, does what is said of it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from in_process import Distributions
from kits import verdicts
from launches import IN_ONE_PIECE, Launcher, until

from launcher_core.hooks import specs

HOOKS = (Path(__file__).resolve().parents[2] / "docs" / "hooks.md").read_text()
EXAMPLES = dict(re.findall(r"^### `(launcher_\w+)\((?:(?!^###? ).)*?^```python\n(.*?)^```$", HOOKS, re.M | re.S))
LONGEST = 14
"""Lines with code that an example may have."""
C10D = "--rdzv-backend=c10d"
Example = Callable[..., None]
Script = Callable[[str], Path]


@pytest.fixture
def example(distributions: Distributions) -> Example:
    """Installs the examples of some hooks, as one plugin named `example` of the group."""

    def install(group: str, *hooks: str) -> None:
        source = "".join(EXAMPLES[hook] for hook in hooks)
        distributions.install("example", f"[launcher.{group}]\nexample = hooks_example\n", hooks_example=source)

    return install


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes a worker's program; `body` has `os`, `sys` and `time` imported."""

    def write(body: str) -> Path:
        path = tmp_path / "worker.py"
        path.write_text(f"import os, sys, time\n{IN_ONE_PIECE}\n{body}\n")
        return path

    return write


def test_every_hook_has_an_example_that_is_short() -> None:
    hooks = [name for name in vars(specs) if name.startswith(specs.PREFIX)]
    lines = {hook: [line for line in text.splitlines() if line.strip()] for hook, text in EXAMPLES.items()}

    assert sorted(EXAMPLES) == sorted(hooks)
    assert {hook: len(code) for hook, code in lines.items() if len(code) > LONGEST} == {}


def test_launcher_declare(launcher: Launcher, script: Script, example: Example) -> None:
    example("rendezvous", "launcher_declare", "launcher_make_rendezvous")
    words = ("--rdzv-backend=example", "--nnodes=1:2")

    refused = launcher.run(*words, "--rdzv-conf=join_timeot=5", script("print('started')"))
    taken = launcher.run(*words, "--rdzv-conf=last_call_timeout=0.1", script("print('started')"))

    assert (refused.code, refused.out) == (2, "")
    assert "example has no key 'join_timeot'; did you mean join_timeout?" in refused.err
    assert (taken.code, taken.out) == (0, "started\n"), taken.err


def test_launcher_make_rendezvous(launcher: Launcher, script: Script, example: Example) -> None:
    example("rendezvous", "launcher_make_rendezvous")
    body = "attempt = int(os.environ['TORCHELASTIC_RESTART_COUNT'])\nprint(attempt, flush=True)\nsys.exit(1 - attempt)"

    done = launcher.run("--rdzv-backend=example", "--max-restarts=1", script(body))

    assert (done.code, done.out) == (0, "0\n1\n"), done.err


@pytest.fixture
def leased() -> str:
    """The example of a LeasedBackend."""
    return str(re.findall(r"^### LeasedBackend\n.*?^```python\n(.*?)^```$", HOOKS, re.M | re.S)[0])


def test_a_leased_backend_carries_a_job(
    launcher: Launcher, script: Script, distributions: Distributions, leased: str
) -> None:
    distributions.install("leased", "[launcher.rendezvous]\nleased = hooks_leased\n", hooks_leased=leased)
    body = "attempt = int(os.environ['TORCHELASTIC_RESTART_COUNT'])\nprint(attempt, flush=True)\nsys.exit(1 - attempt)"

    done = launcher.run("--rdzv-backend=leased", "--nnodes=1:2", "--rdzv-conf=last_call_timeout=0.1",
                        "--max-restarts=1", script(body))  # fmt: skip

    assert (done.code, done.out) == (0, "0\n1\n"), done.err


def test_a_leased_backend_keeps_the_contract(tmp_path: Path, leased: str) -> None:
    (tmp_path / "hooks_leased.py").write_text(leased)
    file = tmp_path / "test_hooks_leased.py"
    file.write_text(
        "import hooks_leased\nimport pytest\nfrom launcher_core.testing import RendezvousBackendContract\n\n\n"
        "class TestLeased(RendezvousBackendContract):\n    plugin = hooks_leased\n\n"
        "    @pytest.fixture\n    def make_backend(self):\n        return hooks_leased.Leased\n"
    )

    found = verdicts(file, tmp_path, [])["TestLeased"]

    assert found.failed == {}
    assert found.skipped == ["test_a_node_that_is_late_is_left_out_and_gets_in_again"]


def test_launcher_make_store(launcher: Launcher, script: Script, example: Example) -> None:
    example("stores", "launcher_make_store")
    body = "sys.exit(1 - int(os.environ['TORCHELASTIC_RESTART_COUNT']))"

    done = launcher.run(C10D, "--rdzv-conf=store=example", "--max-restarts=1", script(body))

    assert done.code == 0, done.err
    assert done.out == "a new store\n" * 2


def test_launcher_make_logs_specs(launcher: Launcher, script: Script, example: Example) -> None:
    example("logs_specs", "launcher_make_logs_specs")
    body = "print(os.environ['RANK'], flush=True)\nprint('error', file=sys.stderr)"

    words = ("--logs-specs=example", "--log-dir=logs", "--nproc-per-node=2")

    done = launcher.run(*words, script(body), env={"OMP_NUM_THREADS": "1"})

    assert (done.code, done.out, done.err) == (0, "", "")
    files = {path.name: path.read_text() for path in (launcher.tmp / "logs").iterdir()}
    assert files == {"0.txt": "0\nerror\n", "1.txt": "1\nerror\n"}


def test_launcher_make_starter(launcher: Launcher, script: Script, example: Example) -> None:
    example("start_methods", "launcher_make_starter")
    body = "print(os.getpriority(os.PRIO_PROCESS, 0) - os.getpriority(os.PRIO_PROCESS, os.getppid()))"

    done = launcher.run("--start-method=example", script(body))

    assert (done.code, done.out) == (0, "5\n"), done.err


def test_launcher_make_recorder(launcher: Launcher, script: Script, example: Example) -> None:
    example("event_recorders", "launcher_make_recorder")

    done = launcher.run("--event-log-handler=example=seen:,jsonl=all.jsonl", script("pass"))

    assert done.code == 0, done.err
    events = [json.loads(line)["name"] for line in (launcher.tmp / "all.jsonl").read_text().splitlines()]
    usual = [name for name in events if not name.startswith("launcher.")]  # the rest only goes to who asks for details
    assert done.out == f"seen: {len(usual)}\n"


def test_launcher_admit(launcher: Launcher, script: Script, example: Example) -> None:
    example("policies", "launcher_admit")

    done = [
        launcher.run("--policy=example", script("print('started')"), env={"LEAST_FREE_BYTES": least})
        for least in ("0", str(2**70))
    ]

    assert [(one.code, one.out) for one in done] == [(0, "started\n"), (2, "")]
    assert f"bytes left in {launcher.env['TMPDIR']}; {2**70} are needed" in done[1].err


def test_launcher_assign_ranks(launcher: Launcher, script: Script, example: Example, free_port: int) -> None:
    example("policies", "launcher_assign_ranks")
    worker = script("print(os.environ['RANK'], flush=True)")
    words = (C10D, f"--rdzv-endpoint=127.0.0.1:{free_port}", "--nnodes=2", "--rdzv-id=ranks", "--policy=example")

    agents = [launcher.start(*words, f"--nproc-per-node={size}", worker) for size in (1, 2)]
    done = [one.wait() for one in agents]

    assert [one.code for one in done] == [0, 0], [one.err for one in done]
    assert [sorted(one.out.split()) for one in done] == [["2"], ["0", "1"]]


@pytest.mark.parametrize(("code", "attempts"), [(78, 1), (79, 3)])
def test_launcher_judge(code: int, attempts: int, launcher: Launcher, script: Script, example: Example) -> None:
    example("policies", "launcher_judge")

    done = launcher.run("--policy=example", "--max-restarts=2", script(f"print('tried', flush=True)\nsys.exit({code})"))

    assert (done.code, done.out) == (1, "tried\n" * attempts)


def test_launcher_preempted(launcher: Launcher, script: Script, example: Example) -> None:
    example("policies", "launcher_preempted")
    running = launcher.start(
        "--policy=example", "--preempt-signal=USR1", script("os.write(1, b'up\\n'); time.sleep(60)")
    )
    until(lambda: running.out == "up\n", "the worker is up")
    running.signal(signal.SIGUSR1)

    assert running.wait().code == 75
    assert (launcher.tmp / "save-now").read_text() == "SIGUSR1 came (--preempt-signal)"


def test_launcher_worker_env(launcher: Launcher, script: Script, example: Example) -> None:
    example("policies", "launcher_worker_env")

    done = launcher.run("--policy=example", "--nproc-per-node=2", script("print(os.environ['TRITON_CACHE_DIR'])"))

    assert done.code == 0, done.err
    assert sorted(done.out.split()) == ["/tmp/triton-0", "/tmp/triton-1"]


def test_launcher_make_watch(launcher: Launcher, script: Script, example: Example) -> None:
    example("policies", "launcher_make_watch")

    done = launcher.run("--policy=example", script("time.sleep(60)"), env={"LONGEST_ATTEMPT": "0.3"})

    assert (done.code, done.out) == (1, "")
    assert "the workers did not end in 0.3 s" in done.err
    until(lambda: not launcher.leftovers(), "the end of the workers", 5.0)
