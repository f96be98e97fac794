"""Membership: who takes part in which round, and when a round ends. The only place where that is decided.

A Round is folded over changes: `apply(round, change, now, limits)` returns the next Round and what to tell whom.
One coordinator applies it for everybody, or each node does under compare-and-swap; either way the same code
decides.  `now` is the clock of whoever applies it, in seconds; no two clocks are ever compared.

    GATHERING --enough nodes--> RUNNING --worker failed, node came, left or was lost--> GATHERING
    RUNNING --all finished, budget spent, closed--> OVER           (OVER is final)

A round forms as soon as it is full, or all that took part in the one before are back; only where neither can
be known (the first round, MIN < MAX) is there a last call.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from enum import Enum
from typing import Any

from launcher_core.model.job import Node
from launcher_core.model.value import Value
from launcher_core.rules import ranks
from launcher_core.rules.crowd import Ids, Nodes

LISTED = 8
"""The most nodes that a line names."""


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


class Join(Value):
    """A node asks for a place."""

    node: Node
    past: tuple[int, int] | None = None
    """The last round it took part in, and the restarts spent by then: for a coordinator that has just begun."""


class Leave(Value):
    """A node is gone: it said so, its connection broke, or nothing was heard of it."""

    id: str
    reason: str
    silent: bool = False
    """Whether it did not say so: its workers have to be given time to end by themselves, or by the warden."""


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


class Finished(Value):
    """All workers of a node succeeded in a round."""

    id: str
    round: int


class Close(Value):
    """Somebody ends the job for everybody."""

    reason: str
    requeue: bool = False


class Tick(Value):
    """Time has passed."""


Change = Join | Leave | Resume | Failed | Finished | Close | Tick


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


Outcome = Seat | Dismiss | Park | End
Assign = Callable[[Sequence[Node], Mapping[str, Any]], Sequence[int] | None]


def apply(
    round: Round, change: Change, now: float, limits: Limits, assign: Assign | None = None
) -> tuple[Round, list[Outcome]]:
    """The Round after `change`, and what to tell whom, in that order."""
    if round.phase is Phase.OVER:
        return round, _late(round, change)
    told: list[Outcome] = []
    if isinstance(change, Join):
        round = _join(_recall(round, change, now, limits), change.node, limits, told)
    elif isinstance(change, Leave):
        round = _leave(round, change, now, limits, told)
    elif isinstance(change, Resume):
        round = _resume(round, change, limits, told)
    elif isinstance(change, Failed):
        round = _failed(round, change, limits, told)
    elif isinstance(change, Finished):
        round = _finished(round, change, told)
    elif isinstance(change, Close):
        round = _end(round._replace(requeue=change.requeue), False, change.reason, told)
    if round.phase is Phase.GATHERING:
        round = _gather(round, now, limits, assign, told)
    return round, told


def _late(round: Round, change: Change) -> list[Outcome]:
    if isinstance(change, Join | Resume):
        return [End(change.node.id, round.succeeded, round.reason, requeue=round.requeue)]
    return []


def _recall(round: Round, change: Join, now: float, limits: Limits) -> Round:
    """The round as a coordinator that has just begun learns it from a node of the job it takes over."""
    if change.past is None or change.past[0] <= round.number or round.phase is Phase.RUNNING:
        return round
    number, restarts = change.past
    restarts = max(restarts, round.restarts)
    fenced_until = now + limits.fence if limits.fence else None
    return round._replace(number=number, restarts=restarts, fenced_until=fenced_until)


def _resume(round: Round, change: Resume, limits: Limits, told: list[Outcome]) -> Round:
    id = change.node.id
    if round.phase is Phase.RUNNING and round.number == change.round and id in round.seated.ids:
        return _finished(round._replace(away=round.away - {id}), Finished(id, change.round), told)
    told.append(Dismiss(id, change.round, round.reason, False, round.restarts, limits.max_restarts))
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
        round = round._replace(fenced_until=now + limits.fence)
    if held and round.charged and limits.late_losses:
        round = round._replace(restarts=round.restarts - 1, charged=False)
    round = round._replace(here=round.here.minus(change.id), expected=round.expected.minus(change.id))
    if not running:
        return round
    if change.id in round.finished:
        return round._replace(away=round.away | {change.id})
    name = round.seated.named(change.id)
    return _dismiss(round, f"{name} is gone: {change.reason}", limits, told, gone=change.id)


def _failed(round: Round, change: Failed, limits: Limits, told: list[Outcome]) -> Round:
    if round.phase is not Phase.RUNNING or change.round != round.number:
        return round
    if change.id not in round.seated.ids:
        return round
    if round.restarts - change.forgiven >= limits.max_restarts:
        return _end(round, False, change.reason, told)
    spent = round._replace(restarts=round.restarts + 1, charged=True)
    return _dismiss(spent, change.reason, limits, told, restart=True)


def _finished(round: Round, change: Finished, told: list[Outcome]) -> Round:
    if round.phase is not Phase.RUNNING or change.round != round.number:
        return round
    if change.id not in round.seated.ids:
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
    for node in dict.fromkeys((*round.seated, *round.here)):
        told.append(End(node.id, succeeded, reason, requeue=round.requeue))
    return round._replace(phase=Phase.OVER, succeeded=succeeded, reason=reason, deadline=None)


def _gather(round: Round, now: float, limits: Limits, assign: Assign | None, told: list[Outcome]) -> Round:
    """Form the round if that is due; else see to it that the last call runs when it should."""
    count = len(round.here)
    if count < limits.low or round.expected:
        return round._replace(deadline=None)
    came_back = round.number >= 0 and not round.here.ids.isdisjoint(round.seated.ids)
    if round.fenced_until is not None and now < round.fenced_until:
        return round._replace(deadline=round.fenced_until)
    if count >= limits.high or came_back:
        return _form(round, limits, assign, told)
    if round.deadline is None or round.deadline == round.fenced_until:
        return round._replace(deadline=now + limits.last_call, fenced_until=None)
    return _form(round, limits, assign, told) if now >= round.deadline else round


def _form(round: Round, limits: Limits, assign: Assign | None, told: list[Outcome]) -> Round:
    old = {node.id: rank for rank, node in enumerate(round.seated)}
    queue = sorted(round.here, key=lambda node: node.id not in old)
    taken, spare = queue[: limits.high], queue[limits.high :]
    old |= _inherited(taken, round.seated, old)
    seated = _order(taken, old, round.number + 1, assign)
    spans = ranks.spans([(node.role, node.local_world_size) for node in seated])
    for rank, (node, span) in enumerate(zip(seated, spans, strict=True)):
        told.append(Seat(node.id, round.number + 1, rank, len(seated), *span, round.restarts))
    told.extend(Park(node.id) for node in spare)
    return round._replace(
        number=round.number + 1,
        phase=Phase.RUNNING,
        here=Nodes(spare),
        seated=Nodes(seated),
        expected=Ids(),
        finished=Ids(),
        away=frozenset(),
        deadline=None,
        fenced_until=None,
        charged=False,
    )


def _inherited(taken: Sequence[Node], seated: Sequence[Node], old: Mapping[str, int]) -> dict[str, int]:
    """Ranks of nodes that are gone, for newcomers of the same name: an agent that was started again."""
    here = {node.id for node in taken}
    gone = {node.name: rank for rank, node in enumerate(seated) if node.id not in here}
    return {node.id: gone.pop(node.name) for node in taken if node.id not in old and node.name in gone}


def _order(nodes: Sequence[Node], old: Mapping[str, int], number: int, assign: Assign | None) -> list[Node]:
    if assign is not None:
        chosen = assign(nodes, {"round": number, "previous": dict(old)})
        if chosen is not None and ranks.is_permutation(chosen, len(nodes)):
            return [node for _, node in sorted(zip(chosen, nodes, strict=True), key=lambda pair: pair[0])]
    return ranks.seat(nodes, old)


def missing(round: Round, limits: Limits) -> str:
    """What a gathering round waits for, in words."""
    if round.expected:
        names = [node.name for node in round.seated if node.id in round.expected]
        return f"waiting for {_listed(names)} to come back"
    here = _listed([node.name for node in round.here])
    if len(round.here) >= limits.low:
        return f"here: {here}; up to {limits.high - len(round.here)} more may join until the last call ends"
    if limits.fixed_ranks:
        free = set(range(limits.high)) - {node.node_rank for node in round.here}
        return f"here: {here}; node ranks that are missing: {_listed([str(rank) for rank in sorted(free)])}"
    lost = [node.name for node in round.seated if node.id not in round.here.ids]
    came = f"; were here before: {_listed(lost)}" if lost else ""
    return f"here: {here}; {limits.low - len(round.here)} more needed{came}"


def _listed(names: Sequence[str]) -> str:
    """The names, but not all of very many."""
    shown = ", ".join(names[:LISTED])
    return shown if len(names) <= LISTED else f"{shown} and {len(names) - LISTED} more"
