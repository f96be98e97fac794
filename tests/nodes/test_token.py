"""The job's token: whoever cannot prove that it knows it takes no part, and workers never see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from jobs import Job
from launches import until

Make = Callable[..., Job]

EXIT_USAGE = 2
RIGHT, WRONG = {"PET_RDZV_TOKEN": "open sesame"}, {"PET_RDZV_TOKEN": "open barley"}


def test_a_node_without_the_right_token_is_refused_by_name_and_the_others_meet(job: Make) -> None:
    guarded = job(4, "2:4")
    running = [guarded.start(number, env=RIGHT) for number in (0, 1)]
    before = guarded.await_group(0, 1)
    refused = [guarded.start(2, env=WRONG).wait(), guarded.start(3).wait()]
    assert [one.code for one in refused] == [EXIT_USAGE] * 2
    assert "node0:29400 refused this agent: the job's token is another one (PET_RDZV_TOKEN" in refused[0].err
    assert "node0:29400 refused this agent: the job's token is missing: set PET_RDZV_TOKEN" in refused[1].err
    for reason in ("another one", "missing"):
        shown = f" was refused: the job's token is {reason}"
        until(lambda shown=shown: shown in running[0].err, shown)
    assert {note.pid for note in guarded.notes.group()} == {note.pid for note in before}
    assert not any(note.secret for note in guarded.notes.all())
    guarded.end(running)


def test_a_node_with_a_token_does_not_take_part_in_a_job_without(job: Make) -> None:
    open_job = job(2, "1:2")
    running = open_job.start(0)
    open_job.await_group(0)
    result = open_job.start(1, env=RIGHT).wait()
    assert result.code == EXIT_USAGE
    assert "node0:29400 asks for no token, and this agent has one" in result.err
    open_job.end([running])


@pytest.mark.parametrize("given", ["all by file", "one by variable"])
def test_nodes_with_the_right_token_meet(job: Make, tmp_path: Path, given: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    guarded = job(2, "2")
    last = [guarded.start(1, env=RIGHT)] if given == "one by variable" else []
    guarded.conf["token_file"] = str(secret)
    running = [guarded.start(0), *(last or [guarded.start(1)])]
    group = guarded.await_group(0, 1)
    assert not any(note.secret for note in group)
    guarded.end(running)
