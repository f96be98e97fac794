"""Two agents that meet over a stranger's register: a file, swapped under a lock."""

from __future__ import annotations

from pathlib import Path

import pytest

PLUGIN = '''
import fcntl, os
from launcher_core import hookimpl


class FileRegister:
    """The state in a file; its fencing token is the number of times that it was written."""

    name = "shared-file"

    def __init__(self, path):
        self.path = path

    def _read(self, file):
        file.seek(0)
        token, _, state = file.read().partition(b" ")
        return (state, int(token)) if token else None

    def get_state(self):
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            return self._read(file)

    def set_state(self, state, token=None):
        with open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            now = self._read(file)
            if token != (now and now[1]):
                return (*now, False)
            file.truncate(0)
            file.write(b"%d %s" % ((token or 0) + 1, state))
            return state, (token or 0) + 1, True


@hookimpl
def launcher_make_rendezvous(params):
    return FileRegister(params.endpoint)
'''

WORKER = """
import os, sys
from launcher_plugins.c10d_store.client import StoreClient
attempt, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
with StoreClient(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])) as store:
    store.barrier("met", int(os.environ["WORLD_SIZE"]))
    if attempt == 0 and rank == 3:
        sys.exit(5)
    store.barrier("done", int(os.environ["WORLD_SIZE"]))
open(os.path.join(sys.argv[1], f"{attempt}.{rank}"), "w").close()
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for sys.path where the plugin is installed."""
    folder = tmp_path / "site"
    info = folder / "file_register-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: file-register\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[launcher.rendezvous]\nshared-file = file_register\n")
    (folder / "file_register.py").write_text(PLUGIN)
    return folder


def test_two_agents_meet_restart_and_finish_over_a_strangers_register(launcher, site, tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    done = tmp_path / "done"
    done.mkdir()
    path = f"{site}:{launcher.env['PYTHONPATH']}" if launcher.env.get("PYTHONPATH") else str(site)
    arguments = [
        "--nnodes=2",
        "--nproc-per-node=2",
        "--max-restarts=1",
        "--rdzv-backend=shared-file",
        f"--rdzv-endpoint={tmp_path / 'register'}",
        "--rdzv-conf=poll_interval=0.02",
        "--local-addr=127.0.0.1",
        "worker.py",
        done,
    ]
    agents = [launcher.start(*arguments, env={"PYTHONPATH": path}) for _ in range(2)]
    ends = [agent.wait() for agent in agents]

    assert [end.code for end in ends] == [0, 0], ends
    assert {file.name for file in done.iterdir()} == {"1.0", "1.1", "1.2", "1.3"}
    assert all("exited with code 5" in end.err and "restart 1 of 1" in end.err for end in ends)
