"""Membership: who takes part in which round, and when a round ends. The only place where that is decided.

A Round is folded over changes: `apply(round, change, now, limits)` returns the next Round and what to tell whom.
One coordinator applies it for everybody, or each node does under compare-and-swap; either way the same code
decides.  `now` is the clock of whoever applies it, in seconds; no two clocks are ever compared.

    GATHERING --enough nodes--> RUNNING --worker failed, node came, left or was lost--> GATHERING
    RUNNING --all finished, budget spent, closed--> OVER           (OVER is final)

A job that failed is OVER at once; which failure it was is settled up to SETTLE seconds later (rules/settling.py).

A round forms as soon as it is full, or all that took part in the one before are back; only where neither can
be known (the first round, MIN < MAX) is there a last call.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum
from typing import TYPE_CHECKING, Any

from launcher_core.model.job import Node
from launcher_core.model.value import Value
from launcher_core.rules import ranks
from launcher_core.rules.crowd import Ids, Nodes
from launcher_core.rules.ranks import Assign

if TYPE_CHECKING:
    from launcher_core.rules.recall import Past, Recalled

SETTLE = 1.0
"""Seconds in which nodes may tell what they know of a failure that has ended the job."""

HOST_ANEW = "the agent that hosts the job was started again"


class Phase(Enum):
    """Where a job stands."""

    GATHERING = "gathering"
    RUNNING = "running"
    OVER = "over"


class Limits(Value):
    """What the user allows. Times in seconds."""

    low: int
    high: int
    last_call: float = 30.0
    max_restarts: int = 0
    fixed_ranks: bool = False
    """Whether a node's rank is the user's choice, so that no two live nodes may ask for the same."""
    fence: float = 0.0
    """How long after a node was lost its workers may still run: no round forms in that time."""
    lease: float = 0.0
    """How long a node that is cut off may go on before it knows."""
    late_losses: bool = False
    """Whether a loss may be noticed later than the failures that follow from it: their restart is then given back."""


class Round(Value):
    """The state of a job's membership. `number` is that of the newest round formed, -1 before the first."""

    number: int = -1
    phase: Phase = Phase.GATHERING
    here: Nodes = Nodes()
    """Nodes that want a place, in order of arrival; while RUNNING those for whom there is none (spares)."""
    seated: Nodes = Nodes()
    """The participants of round `number`, by group rank."""
    expected: Ids = Ids()
    """Ids of nodes of the last round that are alive and have not come back yet."""
    finished: Ids = Ids()
    """Ids of seated nodes whose workers have all succeeded."""
    away: frozenset[str] = frozenset()
    """Ids of those among the finished that did not wait for the others: they will not come back."""
    deadline: float | None = None
    """When the last call ends."""
    fenced_until: float | None = None
    """Until when workers of a node that was lost may still run."""
    restarts: int = 0
    charged: bool = False
    """Whether the last round ended with a failure that cost a restart."""
    succeeded: bool = False
    requeue: bool = False
    """Whether the job, which is OVER, was preempted."""
    reason: str = ""
    """Why the job is OVER, or why the last round ended."""
    verdict: Mapping[str, Any] | None = None
    """The testimony (rules/testimony.py) that explains why a job is OVER. It is settled once there is no deadline."""
    verdict_at: float | None = None
    """When that failure was, by the clock of the coordinator; None without one."""
    witnesses: Ids = Ids()
    """Ids of the seated nodes that have told all they know of it, or are gone."""
    aftermath: tuple[tuple[str, str], ...] = ()
    """Names of nodes, and what became of their workers."""
    recalled: Recalled | None = None
    """What a coordinator that has just begun was told of the rounds before its first."""


class Join(Value):
    """A node asks for a place."""

    node: Node
    past: Past | None = None
    """For a coordinator that has just begun."""


class Leave(Value):
    """A node is gone: it said so, its connection broke, or nothing was heard of it."""

    id: str
    reason: str
    silent: bool = False
    """Whether it did not say so: its workers have to be given time to end by themselves, or by the warden."""
    unaware: float = 0.0
    """How long it may take until the node itself knows, in seconds; none where its process or its lease has ended."""


class Resume(Value):
    """A node whose workers have all succeeded in a round is back after a break."""

    node: Node
    round: int


class Failed(Value):
    """Workers of a node failed in a round."""

    id: str
    round: int
    reason: str
    forgiven: int = 0
    """How many of the restarts that were spent count no more, as the node has it."""
    testimony: Mapping[str, Any] | None = None
    at: float | None = None
    """When that was, by the clock of a coordinator that hears all nodes."""


class Known(Value):
    """A node tells what it knows of the failure that has ended the job, and, at last, what became of its workers."""

    id: str
    round: int
    testimony: Mapping[str, Any] | None = None
    at: float | None = None
    told: str = ""


class Finished(Value):
    """All workers of a node succeeded in a round."""

    id: str
    round: int


class Close(Value):
    """Somebody ends the job for everybody."""

    reason: str
    requeue: bool = False
    testimony: Mapping[str, Any] | None = None
    at: float | None = None


class Tick(Value):
    """Time has passed."""


Change = Join | Leave | Resume | Failed | Known | Finished | Close | Tick


class Seat(Value):
    """Tell a node: the round has formed, this is your place."""

    to: str
    round: int
    group_rank: int
    group_world_size: int
    base_rank: int
    world_size: int
    base_role_rank: int
    role_world_size: int
    restarts: int


class Dismiss(Value):
    """Tell a node: the round has ended, stop your workers and join again."""

    to: str
    round: int
    reason: str
    restart: bool
    restarts: int = 0
    """Restarts that the job has spent, this one included."""
    max_restarts: int = 0


class Park(Value):
    """Tell a node: the job is full, you are a spare."""

    to: str


class End(Value):
    """Tell a node: the job is over, at least for this node."""

    to: str
    succeeded: bool
    reason: str
    refused: bool = False
    """Whether it is only this node that may not take part; the job goes on without it."""
    requeue: bool = False
    verdict: Mapping[str, Any] | None = None
    settled: bool = True
    """Whether the verdict is the last word; if not, another End follows."""
    aftermath: tuple[tuple[str, str], ...] = ()


Outcome = Seat | Dismiss | Park | End


def apply(
    round: Round, change: Change, now: float, limits: Limits, assign: Assign | None = None
) -> tuple[Round, list[Outcome]]:
    """The Round after `change`, and what to tell whom, in that order."""
    if round.phase is Phase.OVER:
        if round.deadline is not None:
            from launcher_core.rules.settling import settle  # seldom wanted

            return settle(round, change, now)
        return round, _late(round, change)
    told: list[Outcome] = []
    if isinstance(change, Join):
        if change.past is not None:
            from launcher_core.rules.recall import recall  # no first round wants it

            round = recall(round, change.node.id, change.past, now, limits)
        round = _join(round, change.node, limits, told)
    elif isinstance(change, Leave):
        round = _leave(round, change, now, limits, told)
    elif isinstance(change, Resume):
        round = _resume(round, change, limits, told)
    elif isinstance(change, Failed):
        round = _failed(round, change, now, limits, told)
    elif isinstance(change, Finished):
        round = _finished(round, change, told)
    elif isinstance(change, Close):
        round = _broken(round._replace(requeue=change.requeue), change, now, told)
    if round.phase is Phase.GATHERING:
        round = _gather(round, now, limits, assign, told)
    return round, told


def _late(round: Round, change: Change) -> list[Outcome]:
    return [ended(round, change.node.id)] if isinstance(change, Join | Resume) else []


def _resume(round: Round, change: Resume, limits: Limits, told: list[Outcome]) -> Round:
    id = change.node.id
    if round.phase is Phase.RUNNING and round.number == change.round and id in round.seated.ids:
        return _finished(round._replace(away=round.away - {id}), Finished(id, change.round), told)
    told.append(Dismiss(id, change.round, round.reason or HOST_ANEW, False, round.restarts, limits.max_restarts))
    return round


def _join(round: Round, node: Node, limits: Limits, told: list[Outcome]) -> Round:
    holder = _holder(round, node) if limits.fixed_ranks else None
    if holder is not None:
        taken = f"node rank {node.node_rank} is taken by {holder.name}; give each node its own --node-rank"
        told.append(End(node.id, False, taken, refused=True))
        return round
    round = round._replace(here=round.here.plus(node), expected=round.expected.minus(node.id))
    if round.phase is not Phase.RUNNING:
        return round
    if node.id in round.seated.ids:
        return _dismiss(round, f"{node.name} started over", limits, told, gone=node.id)
    if len(round.seated) < limits.high:
        return _dismiss(round, f"{node.name} joined", limits, told)
    told.append(Park(node.id))
    return round


def _holder(round: Round, node: Node) -> Node | None:
    """The live node that has the rank which `node` asks for; None when there is no such node."""
    if node.node_rank is None:
        return None
    alive: Set[str] = round.seated.ids - round.away if round.phase is Phase.RUNNING else round.expected
    same = [one for one in (*round.here, *round.seated) if one.node_rank == node.node_rank and one.id != node.id]
    return next((one for one in same if one.id in round.here.ids or one.id in alive), None)


def _leave(round: Round, change: Leave, now: float, limits: Limits, told: list[Outcome]) -> Round:
    running = round.phase is Phase.RUNNING and change.id in round.seated.ids
    held = change.id not in round.finished if running else change.id in round.expected
    if change.silent and held and limits.fence:
        round = round._replace(fenced_until=max(round.fenced_until or now, now + limits.fence + change.unaware))
    if held and round.charged and limits.late_losses:
        round = round._replace(restarts=round.restarts - 1, charged=False)
    round = round._replace(here=round.here.minus(change.id), expected=round.expected.minus(change.id))
    if not running:
        return round
    if change.id in round.finished:
        return round._replace(away=round.away | {change.id})
    name = round.seated.named(change.id)
    return _dismiss(round, f"{name} is gone: {change.reason}", limits, told, gone=change.id)


def _failed(round: Round, change: Failed, now: float, limits: Limits, told: list[Outcome]) -> Round:
    if round.phase is not Phase.RUNNING or change.round != round.number or change.id not in round.seated.ids:
        return round
    if round.restarts - change.forgiven >= limits.max_restarts:
        return _broken(round, change, now, told)
    spent = round._replace(restarts=round.restarts + 1, charged=True)
    return _dismiss(spent, change.reason, limits, told, restart=True)


def _broken(round: Round, change: Failed | Close, now: float, told: list[Outcome]) -> Round:
    """The job has failed; with a testimony the other nodes are asked for theirs."""
    if change.testimony is not None and round.phase is Phase.RUNNING:
        from launcher_core.rules.settling import begun  # seldom wanted

        round = begun(round, change, now)
    return _end(round, False, change.reason, told)


def _finished(round: Round, change: Finished, told: list[Outcome]) -> Round:
    if round.phase is not Phase.RUNNING or change.round != round.number or change.id not in round.seated.ids:
        return round
    round = round._replace(finished=round.finished.plus(change.id))
    if len(round.finished) == len(round.seated):
        return _end(round, True, "all workers succeeded", told)
    return round


def _dismiss(
    round: Round,
    reason: str,
    limits: Limits,
    told: list[Outcome],
    restart: bool = False,
    gone: str | None = None,
) -> Round:
    back = [node.id for node in round.seated if node.id != gone and node.id not in round.away]
    spent = (round.restarts, limits.max_restarts)
    told.extend(Dismiss(id, round.number, reason, restart, *spent) for id in back)
    return round._replace(phase=Phase.GATHERING, expected=Ids(back), finished=Ids(), deadline=None, reason=reason)


def _end(round: Round, succeeded: bool, reason: str, told: list[Outcome]) -> Round:
    deadline = round.deadline if round.verdict is not None else None
    round = round._replace(phase=Phase.OVER, succeeded=succeeded, reason=reason, deadline=deadline)
    told.extend(ended(round, node.id) for node in dict.fromkeys((*round.seated, *round.here)))
    return round


def ended(round: Round, id: str) -> End:
    """What a node is told when the job is over."""
    known = (round.verdict, round.deadline is None, round.aftermath)
    return End(id, round.succeeded, round.reason, False, round.requeue, *known)


def _gather(round: Round, now: float, limits: Limits, assign: Assign | None, told: list[Outcome]) -> Round:
    """Form the round if that is due; else see to it that the last call runs when it should."""
    count = len(round.here)
    if count < limits.low or round.expected:
        return round._replace(deadline=None)
    came_back = not round.here.ids.isdisjoint(round.seated.ids)
    came_back = came_back or (round.recalled is not None and count >= round.recalled.size)
    if round.fenced_until is not None and now < round.fenced_until:
        return round._replace(deadline=round.fenced_until)
    if count >= limits.high or came_back:
        return _form(round, limits, assign, told)
    if round.deadline is None or round.deadline == round.fenced_until:
        return round._replace(deadline=now + limits.last_call, fenced_until=None)
    return _form(round, limits, assign, told) if now >= round.deadline else round


def _form(round: Round, limits: Limits, assign: Assign | None, told: list[Outcome]) -> Round:
    before, known = round.number, {}
    if round.recalled is not None:
        before, known = round.recalled.round, dict(round.recalled.ranks)
    seated, spare = ranks.chosen(round.here, round.seated, known, limits.high, before + 1, assign)
    spans = ranks.spans([(node.role, node.local_world_size) for node in seated])
    for rank, (node, span) in enumerate(zip(seated, spans, strict=True)):
        told.append(Seat(node.id, before + 1, rank, len(seated), *span, round.restarts))
    told.extend(Park(node.id) for node in spare)
    return round._replace(
        number=before + 1,
        phase=Phase.RUNNING,
        here=Nodes(spare),
        seated=Nodes(seated),
        expected=Ids(),
        finished=Ids(),
        away=frozenset(),
        deadline=None,
        fenced_until=None,
        charged=False,
        recalled=None,
    )
