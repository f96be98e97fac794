"""A job of three nodes under load, in which somebody is killed at random, again and again, and all is accounted for."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest
from launches import Launcher, Running, until

TOIL = Path(__file__).parent / "bin" / "toil.py"
KILLS = 5 * int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3")) // 2
"""Of each backend: a hundred in all with 20 rounds."""
NODES, WORKERS = 3, 2

pytestmark = pytest.mark.timeout(60 + 10 * KILLS)


class Worker(NamedTuple):
    """One that is alive, as it says of itself."""

    agent: int
    pid: int
    rank: int
    world_size: int
    restarts: int


class Job:
    """The agents of one job, and what became of them."""

    def __init__(self, launcher: Launcher, folder: Path, words: list[str]) -> None:
        self._launcher = launcher
        self._words = words
        self.there, self.events = folder / "there", folder / "events"
        self.there.mkdir()
        self.events.mkdir()
        self.agents: list[Running] = []
        self._count = 0

    def add(self) -> None:
        """Have another node take part."""
        self._count += 1
        events = f"--event-log-handler=jsonl={self.events / str(self._count)}.jsonl"
        job = (f"--nnodes=1:{NODES}", f"--nproc-per-node={WORKERS}", "--max-restarts=1000", "--rdzv-id=toil")
        self.agents.append(self._launcher.start(*self._words, *job, events, TOIL, self.there))

    def workers(self) -> list[Worker]:
        """Those that are alive."""
        known = [Worker(*map(int, path.name.split("."))) for path in self.there.iterdir()]
        return [one for one in known if str(TOIL) in command(one.pid)]

    def is_whole(self, restarts: int) -> bool:
        """Whether all nodes run together, after so many restarts."""
        workers = self.workers()
        agents = {agent.pid for agent in self.agents}
        ranks = sorted(one.rank for one in workers)
        told = {(one.world_size, one.restarts) for one in workers}
        world = NODES * WORKERS
        return ranks == [*range(world)] and told == {(world, restarts)} and {one.agent for one in workers} == agents

    def exits(self) -> list[int]:
        """The pids of workers whose end is on record as a failure of their own."""
        lines = [line for path in self.events.iterdir() for line in path.read_text().splitlines()]
        metadata = [json.loads(line)["metadata"] for line in lines]
        found = [(one, json.loads(one["metadata"])) for one in metadata if one["state"] == "EXITED"]
        return sorted(int(one["worker_id"]) for one, inner in found if not inner["stopped"])


def command(pid: int) -> str:
    """The command line of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.parametrize("backend", ["c10d", "file"])
def test_nothing_is_lost_however_often_somebody_is_killed(
    launcher: Launcher, tmp_path: Path, chance: Random, free_port: int, backend: str
) -> None:
    meet = {"c10d": f"127.0.0.1:{free_port}", "file": str(tmp_path)}
    words = [f"--rdzv-backend={backend}", f"--rdzv-endpoint={meet[backend]}"]
    words += ["--rdzv-conf=keep_alive_interval=0.5"] if backend == "file" else []
    job = Job(launcher, tmp_path, words)
    host = 1 if backend == "c10d" else 0  # of c10d the first node is needed by the others
    for _ in range(NODES):
        job.add()
    killed: list[int] = []
    wait_for(job, 0)

    for number in range(KILLS):
        if chance.random() < 0.5:
            victim = chance.choice(job.workers())
            print(f"{number}: worker {victim}")
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)
        else:
            agent = job.agents.pop(chance.randrange(host, NODES))
            print(f"{number}: agent {agent.pid}")
            agent.signal(signal.SIGKILL)
            agent.wait()
            job.add()
        wait_for(job, len(killed))

    for agent in reversed(job.agents):
        agent.signal(signal.SIGTERM)
        agent.wait()
    assert job.exits() == sorted(killed)
    launcher.assert_nothing_is_left()


def wait_for(job: Job, restarts: int) -> None:
    until(lambda: job.is_whole(restarts), f"all run after {restarts} restarts: {job.workers()}", 30.0)
