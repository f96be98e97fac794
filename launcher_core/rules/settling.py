"""Which failure ended a job: settled once all nodes have told what they know of it, or have had their time.

The failure that is told of first ends the job, because nobody gains by waiting; but a worker that lost a connection may
be seen to end before the one that closed it. So all nodes are told at once to stop, and tell in turn what their own
workers had to say; the testimony that explains the others (rules/testimony.py) becomes the verdict of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from launcher_core.rules.round import SETTLE, Change, Close, Failed, Join, Known, Leave, Outcome, Resume, ended
from launcher_core.rules.testimony import MOST_TOLD, Testimony, believed, last_word, statement, why

if TYPE_CHECKING:
    from launcher_core.rules.round import Round

MOST_NODES = 64
"""Of so many nodes it is told what became of their workers."""


def begun(round: Round, change: Failed | Close, now: float) -> Round:
    """The round of a failure that is about to end the job; with no other node to ask the verdict is settled at once."""
    round = _weighed(round, change.testimony, change.at)
    others = len(round.seated) > 1
    return round._replace(deadline=now + SETTLE if others else None, witnesses=round.finished)


def settle(round: Round, change: Change, now: float) -> tuple[Round, list[Outcome]]:
    """A job that is OVER, and whose verdict is not settled yet, after `change`; and what to tell whom."""
    told: list[Outcome] = []
    if isinstance(change, Join | Resume):
        told.append(ended(round, change.node.id))
        round = round._replace(here=round.here.plus(change.node))
    elif isinstance(change, Known | Failed):
        round = _heard(round, change)
    elif isinstance(change, Leave):
        round = _gone(round, change)
    assert round.deadline is not None
    if now < round.deadline and len(round.witnesses) < len(round.seated):
        return round, told
    verdict = round.verdict and last_word(round.verdict)
    round = round._replace(deadline=None, verdict=verdict)
    nodes = dict.fromkeys((*round.seated, *round.here))
    return round, [*told, *(ended(round, node.id) for node in nodes)]


def _heard(round: Round, change: Known | Failed) -> Round:
    if change.round != round.number or change.id not in round.seated.ids:
        return round
    round = _weighed(round, change.testimony, change.at)
    told = getattr(change, "told", "")
    if not told or change.id in round.witnesses:
        return round
    name = round.seated.named(change.id)
    aftermath = (*round.aftermath, (name, told[:MOST_TOLD])) if len(round.aftermath) < MOST_NODES else round.aftermath
    return round._replace(witnesses=round.witnesses.plus(change.id), aftermath=aftermath)


def _gone(round: Round, change: Leave) -> Round:
    """A node that is lost without a word explains lost connections."""
    if change.id not in round.seated.ids or change.id in round.witnesses:
        return round
    name = round.seated.named(change.id)
    lost = statement(name, kind="node_lost", text=f"{name} is gone: {change.reason}") if change.silent else None
    round = _weighed(round, lost, None)
    left = (*round.aftermath, (name, f"gone: {change.reason}"[:MOST_TOLD]))[:MOST_NODES]
    return round._replace(witnesses=round.witnesses.plus(change.id), aftermath=left)


def _weighed(round: Round, new: Testimony | None, at: float | None) -> Round:
    old = round.verdict
    if new is None or not believed(old, round.verdict_at, new, at):
        return round
    refusal = new.get("refusal") or (old or {}).get("refusal") or ""
    verdict: dict[str, Any] = {**new, "reason": why(old, new), "refusal": refusal}
    return round._replace(verdict=verdict, verdict_at=at)
