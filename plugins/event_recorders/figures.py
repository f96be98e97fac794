"""What is measured of a launch, under which names: one table, for every recorder that exports numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from launcher_core.rules.timeline import Ledger

STATES = ("begun", "joining", "starting", "running", "stopping", "awaiting", "finishing", "leaving", "ended")
KINDS = ("running", "succeeded", "failed", "stopped")
CAUSES = ("failure", "failure_elsewhere", "hang", "membership", "cut_off")


class Family(NamedTuple):
    """One metric. `kind` is `counter`, `gauge` or `summary`; a sample is an ending of the name, labels and a value."""

    name: str
    kind: str
    help: str
    unit: str
    samples: tuple[tuple[str, Mapping[str, str], float], ...]


def families(ledger: Ledger, now: int) -> list[Family]:
    """The metrics, the current phase counted until `now`, in wall-clock microseconds."""
    restarts = {cause: ledger.restarts.get(cause, 0) for cause in (*CAUSES, *sorted(set(ledger.restarts) - {*CAUSES}))}
    states = list(ledger.workers.values())
    exits = [({"kind": kind, "code": str(code)}, count) for (kind, code), count in sorted(ledger.exits.items())]
    rendezvous = [time / 1e6 for time in ledger.rendezvous]
    state = ledger.state.lower()
    return [
        _counter("launcher_restarts", "Rounds that followed another, by what ended that one.", _by("cause", restarts)),
        _gauge("launcher_round", "Number of the current round, from 0.", [({}, ledger.round or 0)]),
        _gauge("launcher_nodes", "Nodes in the current round.", [({}, ledger.nodes)]),
        _gauge(
            "launcher_workers",
            "Workers of this node in the current round, by state.",
            _by("state", {kind: states.count(kind) for kind in KINDS}),
        ),
        _gauge(
            "launcher_state",
            "1 for the state that this node's agent is in, 0 for the others.",
            _by("state", {one: int(one == state) for one in STATES}),
        ),
        _counter("launcher_worker_exits", "Workers of this node that have ended, by kind and exit code.", exits),
        Family(
            "launcher_rendezvous_seconds",
            "summary",
            "Time that rendezvous took.",
            "s",
            (("_count", {}, len(rendezvous)), ("_sum", {}, sum(rendezvous))),
        ),
        _counter(
            "launcher_phase_seconds",
            "Time since the launch began, by what it was spent on.",
            _by("phase", {phase: time / 1e6 for phase, time in ledger.phases(now).items()}),
            "s",
        ),
    ]


def _by(label: str, values: Mapping[str, float]) -> list[tuple[dict[str, str], float]]:
    return [({label: name}, value) for name, value in values.items()]


def _counter(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]], unit: str = "1") -> Family:
    return Family(name, "counter", text, unit, tuple(("_total", labels, value) for labels, value in samples))


def _gauge(name: str, text: str, samples: Sequence[tuple[dict[str, str], float]]) -> Family:
    return Family(name, "gauge", text, "1", tuple(("", labels, value) for labels, value in samples))
