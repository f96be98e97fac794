"""The report on a failed launch, from what the agent brought home. The words are those of rules/story."""

from __future__ import annotations

from collections.abc import Mapping

from launcher_core.model.logs import LogsDest
from launcher_core.rules.blame import Failure, choose_root, read_failure
from launcher_core.rules.story import report


def failure_report(
    name: str,
    failures: Mapping[int, Failure],
    dest: LogsDest,
    hostname: str,
    *,
    restarts: int,
    max_restarts: int,
    report_lines: int,
) -> tuple[int, str]:
    """(the global rank to blame, the report); `failures` by global rank, never empty."""
    failed = [read_failure(rank, failure) for rank, failure in failures.items()]
    root = choose_root(failed)
    text = report(
        name,
        failed,
        root.position,
        root.reason,
        {one.local_rank: log_paths(dest, one.local_rank) for one in failed},
        hostname,
        restarts=restarts,
        max_restarts=max_restarts,
        report_lines=report_lines,
    )
    return failed[root.position].rank, text


def log_paths(dest: LogsDest, local_rank: int) -> list[str]:
    """The files that a worker's output was written to."""
    paths = (dest.stdouts.get(local_rank, ""), dest.stderrs.get(local_rank, ""))
    return [path for path in paths if path and path != "/dev/null"]
