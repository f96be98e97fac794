"""Every fault is reported as it is: the rank, the class and the words, on every node that has a say."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from corpus import BEYOND, FAULTS, KNOWN
from fault import Fault
from nodes import require
from stage import Stage
from verdict import Verdict, verdict

Played = Callable[[Fault], Verdict]
ROUNDS = int(os.environ.get("LAUNCHER_CHAOS_ROUNDS", "3"))
SOME = FAULTS if ROUNDS >= 10 else FAULTS[::2]
"""Every other one where there are few rounds: all of them take minutes."""


def play(fault: Fault, folder: object) -> Verdict:
    stage = Stage(fault, folder)  # type: ignore[arg-type]
    return verdict(fault, stage.play(), stage.port)


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """What came of a fault. Those of this run begin at once, two at a time: most of them wait most of the time."""
    require()
    params = [getattr(item, "callspec", None) for item in request.session.items]
    faults = [one.params["fault"] for one in params if one and "fault" in one.params]
    home = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        coming = {fault.name: pool.submit(play, fault, home / str(at)) for at, fault in enumerate(faults)}
        yield lambda fault: coming[fault.name].result()
        for one in coming.values():
            one.cancel()


@pytest.mark.parametrize("fault", SOME, ids=lambda fault: fault.name)
def test_a_fault_is_reported_as_it_is(played: Played, fault: Fault) -> None:
    found = played(fault)
    wrong = KNOWN.get(fault.name) or BEYOND.get(fault.name)
    if wrong and not found.right:
        pytest.xfail(wrong)
    assert found.right, f"{fault.truth} was told as {found}"


def test_what_is_known_to_be_wrong_is_little_and_has_a_reason() -> None:
    names = Counter(fault.name for fault in FAULTS)
    assert max(names.values()) == 1
    assert len(SOME) >= 60
    assert {*KNOWN, *BEYOND} <= {*names}
    assert all([*KNOWN.values(), *BEYOND.values()])
