"""Jobs over real networks: each test has nodes of its own, and a job that runs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import timings
from jobs import Job, job_on
from launches import marked, until


@pytest.fixture
def backend() -> str:
    """What jobs meet over, in tests that are about c10d alone; the others are run over several."""
    return "c10d"


@pytest.fixture
def job(tmp_path: Path, backend: str) -> Iterator[Callable[..., Job]]:
    """Make so many nodes and a job for them. No process that it started may outlive it."""
    with ExitStack() as stack:
        jobs: list[Job] = []

        def make(number: int, sizes: str, *options: str) -> Job:
            jobs.append(stack.enter_context(job_on(number, tmp_path, backend, sizes, *options)))
            return jobs[-1]

        yield make
        for one in jobs:
            ended = [node for node in one.nodes if all(run.process.poll() is not None for run in node.launcher.running)]
            for node in ended:
                mark = node.launcher.mark
                until(lambda mark=mark: not marked(mark), f"processes left behind on {node.name}", 5.0)


@pytest.fixture
def reformed(backend: str) -> Callable[[str, float], None]:
    """Note how many seconds it took to form a round again after a fault of some kind."""
    return lambda fault, seconds: timings.note(f"{fault}, {backend}", seconds)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where several processes share the tests."""
    timings.send(session.config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of them has ended."""
    timings.receive(getattr(node, "workeroutput", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the times that were noted."""
    timings.show(terminalreporter)
