"""The report on a failed launch, from what the agent brought home. The words are those of rules/story."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from launcher_core.model.logs import LogsDest
from launcher_core.model.news import Cut, Regroup
from launcher_core.rules.blame import Failed, Failure, Root, choose_root, read_failure
from launcher_core.rules.past import causes
from launcher_core.rules.steps import Looked
from launcher_core.rules.story import APART, Case

if TYPE_CHECKING:
    from launcher_core.rules.testimony import Testimony


def judge(
    name: str,
    failures: Mapping[int, Failure],
    dest: LogsDest,
    hostname: str,
    *,
    restarts: int,
    max_restarts: int,
    report_lines: int,
    hung: str = "",
    hung_ranks: Collection[int] = (),
    stacks: Sequence[str] = (),
    stuck: str = "",
    verdict: Verdict | None = None,
    past: Sequence[Regroup | Cut] = (),
    again: Callable[[int], str] = lambda rank: "",
    world_size: int = 1,
) -> Case:
    """The case that the report is about; `failures` by global rank, never empty unless there is a `verdict`.

    That is what the nodes of the job have settled on, the same for all of them. `again` makes the command that runs a
    rank of this node once more.
    """
    failed = [_with_a_full_disk(read_failure(rank, failure), dest) for rank, failure in failures.items()]
    counts: dict[str, Any] = {"restarts": restarts, "max_restarts": max_restarts, "report_lines": report_lines}
    counts |= {"stacks": stacks, "stuck": stuck, "past": causes(past), "world_size": world_size}
    if verdict is not None:
        return _settled(name, failed, verdict, hostname, counts)
    root = choose_root(failed)
    named = next((position for position, one in enumerate(failed) if one.rank in hung_ranks), None)
    if hung and named is not None:
        root = Root(named, APART)
    paths = {one.local_rank: log_paths(dest, one.local_rank) for one in failed}
    counts["again"] = again(failed[root.position].rank)
    return Case(name, failed, root.position, root.reason, paths, hostname, hung=hung, **counts)


class Verdict(NamedTuple):
    """What the nodes have settled on: a testimony about a worker, and what became of the workers of each node."""

    told: Testimony
    nodes: Sequence[tuple[str, str]]


def _settled(
    name: str,
    failed: Sequence[Failed],
    verdict: Verdict,
    hostname: str,
    counts: Mapping[str, Any],
) -> Case:
    from launcher_core.rules.testimony import failed_of

    told, nodes = verdict
    root = failed_of(told)
    assert root is not None
    ours = [one for one in failed if (told["node"], root.rank, root.pid) == (hostname, one.rank, one.pid)]
    others = [one for one in failed if one not in ours]
    files = (told["files"][1], told["files"][2])
    shown = {root.local_rank: [path for path in files if path]}
    reason, hung = str(told.get("reason") or ""), told["text"] if told["kind"] == "hang" else ""
    alone, refusal = hostname not in dict(nodes), told.get("refusal") or ""
    more: dict[str, Any] = {"foreign": not ours, "nodes": nodes, "files": files, "alone": alone, "refusal": refusal}
    more["again"] = told["again"]
    return Case(name, [root, *others], 0, reason, shown, told["node"], hung=hung, **counts, **more)


def stacks_of(seen: Looked | None) -> list[str]:
    """What the workers that were stopped had been doing, for people."""
    if seen is None or not seen.lines:
        return []
    return [*seen.lines, *([f"all of it: {seen.path}"] if seen.path else [])]


def _with_a_full_disk(failed: Failed, dest: LogsDest) -> Failed:
    """The failure, of which nothing is known because there was no room to write it, with that as its problem."""
    if failed.error is not None or failed.message:
        return failed
    for path in (*log_paths(dest, failed.local_rank), os.path.dirname(dest.error_files.get(failed.local_rank, ""))):
        try:
            found = os.statvfs(path)
        except (OSError, ValueError):  # gone, or none
            continue
        if found.f_blocks and not found.f_bavail:
            return failed._replace(problem=f"no space is left for {path}; what it said last may be missing")
    return failed


def log_paths(dest: LogsDest, local_rank: int) -> list[str]:
    """The files that a worker's output was written to."""
    return [path for path in (log_file(dest.stdouts, local_rank), log_file(dest.stderrs, local_rank)) if path]


def log_file(paths: Mapping[int, str], local_rank: int) -> str:
    """The file that a stream of the worker was written to; "" where there is none."""
    path = paths.get(local_rank, "")
    return "" if path == os.devnull else path
