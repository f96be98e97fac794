"""Many agents at one coordinator over TCP, as the benchmark has them: what does not vary with the machine's load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench" / "rendezvous_scale.py"
NODES = 256
RESTARTS = 2


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the benchmark found. A silent agent is given up late: a busy machine is no failure here."""
    found = tmp_path_factory.mktemp("scale") / "found.json"
    options = [f"--nodes={NODES}", f"--rounds={RESTARTS}", "--idle=0", "--silence=60", f"--json={found}"]
    done = subprocess.run([sys.executable, BENCH, *options], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = json.loads(found.read_text())
    return one


def rounds(scale: dict[str, Any]) -> list[dict[str, Any]]:
    return [scale["first"], *scale["restarts"]]


def test_every_agent_has_one_seat_in_every_round_and_no_rank_is_left_out(scale: dict[str, Any]) -> None:
    assert len(rounds(scale)) == 1 + RESTARTS
    assert all(one["dense"] for one in rounds(scale))


def test_no_agent_needs_more_than_six_messages_in_a_round(scale: dict[str, Any]) -> None:
    assert max(one["messages"] for one in rounds(scale)) <= 6


def test_no_agent_needs_more_than_a_kilobyte_in_a_round(scale: dict[str, Any]) -> None:
    assert max(one["bytes"] for one in rounds(scale)) <= 1000
