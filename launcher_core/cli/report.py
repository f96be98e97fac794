"""The report on a failed launch, from what the agent brought home. The words are those of rules/story."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence

from launcher_core.model.logs import LogsDest
from launcher_core.rules.blame import Failed, Failure, Root, choose_root, read_failure
from launcher_core.rules.steps import Looked
from launcher_core.rules.story import Case


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
) -> Case:
    """The case that the report is about; `failures` by global rank, never empty."""
    failed = [_with_a_full_disk(read_failure(rank, failure), dest) for rank, failure in failures.items()]
    root = choose_root(failed)
    named = next((position for position, one in enumerate(failed) if one.rank in hung_ranks), None)
    if hung and named is not None:
        root = Root(named, "it is the one that stands apart, as the watch says")
    return Case(
        name,
        failed,
        root.position,
        root.reason,
        {one.local_rank: log_paths(dest, one.local_rank) for one in failed},
        hostname,
        restarts=restarts,
        max_restarts=max_restarts,
        report_lines=report_lines,
        hung=hung,
        stacks=stacks,
        stuck=stuck,
    )


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
