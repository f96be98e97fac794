"""The metrics of real jobs, read back by Prometheus' own parser: from the textfile, and from the page."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.request import urlopen

from launches import Launcher, until
from prometheus_client.parser import text_string_to_metric_families

BIN = Path(__file__).parent / "bin"
TYPES = {
    "launcher_restarts": "counter",
    "launcher_round": "gauge",
    "launcher_nodes": "gauge",
    "launcher_workers": "gauge",
    "launcher_state": "gauge",
    "launcher_worker_exits": "counter",
    "launcher_rendezvous_seconds": "summary",
    "launcher_phase_seconds": "counter",
}
PHASES = {"training", "forming", "restarting", "waiting"}


def read(text: str) -> dict[tuple[str, str], float]:
    """Values by name and labels, those apart that are the same for all; each metric has a type and a text."""
    families = list(text_string_to_metric_families(text))
    assert {family.name: family.type for family in families} == TYPES
    assert all(family.documentation for family in families)
    found = {}
    for sample in (sample for family in families for sample in family.samples):
        own = [value for name, value in sorted(sample.labels.items()) if name not in ("run_id", "agent")]
        found[sample.name, ",".join(own)] = sample.value
    return found


def check_end(values: dict[tuple[str, str], float]) -> None:
    """The figures of fail_once.py with two workers, before the second round's have ended or after."""
    assert values["launcher_restarts_total", "failure"] == 1
    assert values["launcher_round", ""] == 1
    assert values["launcher_worker_exits_total", "7,failed"] == 1
    assert values["launcher_rendezvous_seconds_count", ""] == 2
    assert {label for name, label in values if name == "launcher_phase_seconds_total"} == PHASES
    assert sum(value for (name, _), value in values.items() if name == "launcher_state") == 1


def test_the_textfile_of_a_job_with_a_restart_is_read_by_the_parser(launcher: Launcher, tmp_path: Path) -> None:
    path = tmp_path / "job.prom"
    options = ["--nproc-per-node=2", "--max-restarts=1", f"--event-log-handler=prometheus=textfile:{path}"]
    assert launcher.run(*options, BIN / "fail_once.py", tmp_path).code == 0
    values = read(path.read_text())
    check_end(values)
    assert values["launcher_state", "ended"] == 1
    assert values["launcher_workers", "succeeded"] == 2


def test_the_page_of_a_running_job_is_read_by_the_parser_and_goes_with_it(
    launcher: Launcher, tmp_path: Path, free_port: int
) -> None:
    os.mkfifo(tmp_path / "go")
    options = ["--nproc-per-node=2", "--max-restarts=1", f"--event-log-handler=prometheus=127.0.0.1:{free_port}"]
    running = launcher.start(*options, BIN / "fail_once.py", tmp_path)

    def page() -> str:
        try:
            with urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def runs_again() -> str:
        text = page()
        return text if re.search(r"^launcher_round\{.*\} 1\.0$", text, re.M) and is_running(text) else ""

    values = read(str(until(runs_again, "the second round runs")))
    check_end(values)
    assert (values["launcher_nodes", ""], values["launcher_workers", "running"]) == (1, 2)
    assert read(page())["launcher_phase_seconds_total", "training"] > values["launcher_phase_seconds_total", "training"]
    with open(tmp_path / "go", "w"):
        pass
    until(lambda: not page() or let_go(tmp_path / "go"), "the job ends")
    assert running.wait().code == 0
    assert page() == ""


def is_running(text: str) -> bool:
    return bool(re.search(r'^launcher_state\{.*state="running".*\} 1\.0$', text, re.M))


def let_go(fifo: Path) -> None:
    """Let whoever reads the FIFO go on, if there is somebody."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return


def test_a_port_that_is_taken_is_told_before_anything_starts(launcher: Launcher, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = launcher.run(f"--event-log-handler=prometheus=127.0.0.1:{port}", BIN / "fail_once.py", tmp_path)
    assert result.code == 2
    assert f"metrics cannot be served at 127.0.0.1:{port}: Address already in use" in result.err
