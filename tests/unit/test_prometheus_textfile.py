"""The recorder `prometheus` as far as it needs nothing installed: its argument, and the textfile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher_core.errors import UsageError
from launcher_core.model.record import Event, EventSource
from launcher_plugins.event_recorders import prometheus
from launcher_plugins.event_recorders.figures import Family


def agent(at: int, state: str, **fields: Any) -> Event:
    metadata = {"state": state, "run_id": "job", "metadata": json.dumps({**fields, "time_us": at})}
    return Event(f"launcher.agent.{state}", EventSource.AGENT, 0, metadata)


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (None, "has to be told where metrics go"),
        ("", "has to be told where metrics go"),
        ("9400", "is no address"),
        ("host:port", "is no address"),
        (":70000", "is no address"),
        ("textfile:", "files that end with .prom only"),
        ("textfile:/tmp/metrics", "files that end with .prom only"),
    ],
)
def test_an_argument_that_names_no_place_is_refused(argument: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prometheus.launcher_make_recorder(argument)


def test_the_file_is_there_from_the_beginning_and_stays_with_the_last_figures(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "job.prom"
    recorder = prometheus.launcher_make_recorder(f"textfile:{path}")
    assert 'launcher_state{state="begun"} 1' in path.read_text()
    recorder.record(agent(1_000_000, "BEGUN", agent_pid=5))
    recorder.record(agent(1_000_000, "JOINING", cause="first"))
    recorder.record(agent(3_500_000, "ENDED", result="SUCCEEDED"))
    recorder.close()
    labels = 'run_id="job",agent="5"'
    lines = path.read_text().splitlines()
    assert f'launcher_state{{state="ended",{labels}}} 1' in lines
    assert f'launcher_phase_seconds_total{{phase="forming",{labels}}} 2.5' in lines
    assert [file.name for file in path.parent.iterdir()] == ["job.prom"]


def test_a_textfile_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken.prom").mkdir()
    with pytest.raises(OSError, match=r"^metrics file '.*taken\.prom' cannot be written: .*textfile:PATH$"):
        prometheus.launcher_make_recorder(f"textfile:{tmp_path / 'taken.prom'}")


def test_a_page_has_help_and_type_for_each_metric_and_quotes_labels() -> None:
    samples = (("_total", {"why": 'a "b"\\\n'}, 2),)
    found = prometheus.page([Family("n", "counter", "Words.", "1", samples)])
    assert found == '# HELP n_total Words.\n# TYPE n_total counter\nn_total{why="a \\"b\\"\\\\\\n"} 2\n'
