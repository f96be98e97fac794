"""Torch workers that meet at the launcher's store, named by the environment and named by a URL."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from in_process import InProcess
from launches import Launcher

pytestmark = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch, for the workers")
BIN = Path(__file__).parent / "bin"
ALL_REDUCE = BIN / "all_reduce.py"
URLS = ["env://", "tcp://localhost:{port}"]


@pytest.fixture
def touched(tmp_path: Path) -> Path:
    """Where workers leave a file each."""
    folder = tmp_path / "touched"
    folder.mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("url", URLS)
def test_four_workers_inside_their_interpreters_form_a_group(
    in_process: InProcess, touched: Path, free_port: int, url: str
) -> None:
    place = ["--master-addr=localhost", f"--master-port={free_port}", "--monitor-interval=1"]
    words = [f"--init-method={url.format(port=free_port)}", f"--touch-file-dir={touched}"]
    in_process.main("--run-path", "--nnodes=1", "--nproc-per-node=4", *place, ALL_REDUCE, *words)
    assert names(touched) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("url", URLS)
def test_four_workers_on_two_nodes_form_a_group(launcher: Launcher, touched: Path, free_port: int, url: str) -> None:
    place = ["--nnodes=2", "--nproc-per-node=2", "--master-addr=localhost", f"--master-port={free_port}"]
    words = [f"--init-method={url.format(port=free_port)}", f"--touch-file-dir={touched}"]
    nodes = [launcher.start(*place, f"--node-rank={rank}", ALL_REDUCE, *words) for rank in (0, 1)]
    ends = [node.wait() for node in nodes]
    assert [end.code for end in ends] == [0, 0], ends
    assert names(touched) == {"0", "1", "2", "3"}


def test_four_workers_form_a_group_where_nothing_about_the_place_was_said(launcher: Launcher, touched: Path) -> None:
    words = ["--init-method=env://", f"--touch-file-dir={touched}"]
    result = launcher.run("--nproc-per-node=4", ALL_REDUCE, *words)
    assert result.code == 0, result.err
    assert names(touched) == {"0", "1", "2", "3"}


def test_torch_knows_that_the_launcher_launched_it(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "asks.py"
    script.write_text("from torch.distributed import is_torchelastic_launched\nprint(is_torchelastic_launched())\n")
    assert launcher.run(script).out == "True\n"


def test_the_launcher_itself_needs_no_torch(launcher: Launcher, tmp_path: Path) -> None:
    script = tmp_path / "launches.py"
    script.write_text(
        "import sys\nfrom launcher_core.run import main\n"
        f"main(['--no-python', {sys.executable!r}, '-c', 'pass'])\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('torch', 'numpy')))\n"
    )
    launched = launcher.run("--no-python", sys.executable, script)
    assert (launched.code, launched.out) == (0, "[]\n")
