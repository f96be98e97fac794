"""The tables of docs/failures.md."""

from __future__ import annotations

from collections.abc import Sequence

import peer
from corpus import BEYOND, GROUPS, KNOWN
from fault import ANY, Fault
from verdict import Verdict

Rows = Sequence[tuple[Fault, Verdict]]


def tables(rows: Rows) -> str:
    """Totals, and a table for each group of faults."""
    cells, recorded = peer.kept(), peer.kept("recorded")
    found = {fault.name: one for fault, one in rows}
    parts = [
        "## Totals",
        "\n".join(["| | ours | torchrun | with `@record` |", "|---|---|---|---|", *_totals(rows, cells, recorded)]),
    ]
    wrong = [f"- {fault.name}: {_why(fault)}" for fault, one in rows if not one.right]
    parts += ["## What is wrong with ours", "\n".join(wrong) or "Nothing."]
    for name, faults in GROUPS.items():
        lines = [_line(one, found[one.name], cells.get(one.name), recorded.get(one.name)) for one in faults]
        head = [
            "| fault | truth | ours | first line of ours | torchrun | with `@record` |",
            "|---|---|---|---|---|---|",
        ]
        parts += [f"## {name}", "\n".join([*head, *lines])]
    return "\n\n".join(parts)


def _why(fault: Fault) -> str:
    return KNOWN.get(fault.name) or BEYOND.get(fault.name) or "not known to be"


def truth_of(fault: Fault) -> str:
    where = f" on {fault.truth.node}" if fault.nodes > 1 and fault.truth.node else ""
    return f"{rank_text(fault.truth.rank)}{where}, {' or '.join(fault.truth.kinds)}"


def rank_text(rank: int | None) -> str:
    return "no rank" if rank is None else "any rank" if rank == ANY else f"rank {rank}"


def totals(rows: Rows) -> list[str]:
    """How many are right, in words."""
    return [
        f"{name} right: {_share([getattr(one, field) for _, one in rows])}"
        for name, field in (("rank", "rank"), ("class", "kind"), ("words", "says"))
    ]


def _totals(rows: Rows, *asked: dict[str, peer.Cell]) -> list[str]:
    theirs = [[cells[fault.name] for fault, _ in rows if fault.name in cells] for cells in asked]
    ranks = [_share([one.rank for one in cells]) for cells in theirs]
    causes = [_share([one.cause == peer.REPORT for one in cells]) for cells in theirs]
    lines = [
        ("rank (and node) right", _share([one.rank for _, one in rows]), *ranks),
        ("class right", _share([one.kind for _, one in rows]), *["it has none"] * len(asked)),
        ("the cause is in the report", _share([one.says for _, one in rows]), *causes),
    ]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _share(right: Sequence[bool]) -> str:
    return f"{sum(right)} of {len(right)} ({100 * sum(right) / max(1, len(right)):.1f} %)"


def _line(fault: Fault, one: Verdict, *theirs: peer.Cell | None) -> str:
    ours = f"{_bold(rank_text(one.told_rank), one.rank)}, {_bold(one.told_kind, one.kind)}"
    ours += "" if one.says else ", **without the words**"
    cells = [fault.name, truth_of(fault), ours, f"`{one.line.replace('`', '')}`", *map(_theirs, theirs)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _theirs(cell: peer.Cell | None) -> str:
    return cell.text() if cell else "-"


def _bold(text: str, right: bool) -> str:
    return text if right else f"**{text}**"
