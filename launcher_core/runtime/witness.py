"""What this node tells the others of a failure: read off its workers' ends and files, in the words of rules/testimony.

Imported when something has failed; called from the agent's main thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from time import time
from typing import Any, NamedTuple

from launcher_core.model.job import Command, Node, Place, WorkerExit
from launcher_core.model.logs import LogsDest
from launcher_core.rules.blame import Failed, Failure, choose_root, is_echo, read_failure
from launcher_core.rules.story import fates
from launcher_core.rules.testimony import STOPPED, statement, weight


class Scene(NamedTuple):
    """Where it happened."""

    node: Node
    place: Place
    command: Command
    dest: LogsDest
    hung: str = ""


def of_worker(scene: Scene, failure: Failure) -> dict[str, Any]:
    """What is known of one worker that has failed."""
    return _of(scene, read_failure(scene.place.base_rank + failure.local_rank, failure))


def of_hang(scene: Scene) -> dict[str, Any]:
    """What is known of a group that was given up before any of it has ended."""
    return statement(scene.node.name, kind="hang", text=scene.hung)


def of_all(
    scene: Scene, failures: Mapping[int, Failure], exits: Sequence[WorkerExit]
) -> tuple[dict[str, Any] | None, str]:
    """What this node knows once its workers have all ended, None for nothing; and what became of them.

    A worker that was stopped is only told of when it had said why before, and no other knows better.
    """
    base = scene.place.base_rank
    failed = [read_failure(base + local, failure) for local, failure in sorted(failures.items())]
    told = fates(failed, sorted(base + exit.local_rank for exit in exits if exit.code == 0))
    if not failed:
        return None, told
    root = failed[choose_root(failed).position]
    if not scene.hung and (root.stopped or is_echo(root)):
        others = (_of(scene, one) for one in failed if one.stopped)
        known = next((one for one in others if weight(one) == STOPPED), None)
        if known is not None or root.stopped:
            return known, told
    return _of(scene, root), told


def _of(scene: Scene, failed: Failed) -> dict[str, Any]:
    dest, local = scene.dest, failed.local_rank
    return statement(
        scene.node.name,
        failed,
        kind="hang" if scene.hung else "",
        text=scene.hung,
        age=time() - failed.at,  # of one clock: the file was written, and the end seen, on this node
        stdout=_file(dest.stdouts.get(local)),
        stderr=_file(dest.stderrs.get(local)),
    )


def _file(path: str | None) -> str:
    return os.path.abspath(path) if path and path != os.devnull else ""
