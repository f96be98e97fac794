"""What this node tells the others of a failure: read off its workers' ends and files, in the words of rules/testimony.

Imported when something has failed; called from the agent's main thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, NamedTuple

from launcher_core.model.job import Command, Node, Place, WorkerExit
from launcher_core.model.logs import LogsDest
from launcher_core.rules.again import again
from launcher_core.rules.blame import Failed, Failure, choose_root, is_echo, read_failure
from launcher_core.rules.steps import HUNG, NOT_STARTED, TellKnown
from launcher_core.rules.story import fates
from launcher_core.rules.supervise import Agent
from launcher_core.rules.testimony import STOPPED, statement, weight


class Scene(NamedTuple):
    """Where it happened."""

    node: Node
    place: Place
    agent: Agent
    command: Command
    dest: LogsDest
    refusal: str = ""
    """Why the failure is not worth another start."""


def testify(
    meeting: Any,
    scene: Scene,
    about: TellKnown,
    failures: Mapping[int, Failure],
    failure_of: Callable[[WorkerExit], Failure],
) -> None:
    """Tell the meeting what is known of a worker that has failed, of a hang, or of all once they have ended.

    `failures` are known then; `failure_of` looks at one.
    """
    if about.local_rank is None:
        meeting.testify(about.round, *of_all(scene, failures, scene.agent.exits))
    elif about.local_rank in (HUNG, NOT_STARTED):
        meeting.testify(about.round, of_node(scene), "")
    else:
        exit = next(exit for exit in scene.agent.exits if exit.local_rank == about.local_rank)
        meeting.testify(about.round, of_worker(scene, failure_of(exit)), "")


def of_worker(scene: Scene, failure: Failure) -> dict[str, Any]:
    """What is known of one worker that has failed."""
    return _of(scene, read_failure(scene.place.base_rank + failure.local_rank, failure))


def of_node(scene: Scene) -> dict[str, Any]:
    """What is known of a group that was given up before any of it has ended, or that could not be started."""
    if scene.agent.error is not None:
        return statement(scene.node.name, kind="start_failed", text=f"{scene.agent.error} (on {scene.node.name})")
    return statement(scene.node.name, kind="hang", text=scene.agent.hung, refusal=scene.refusal)


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
    named = [one for one in failed if one.local_rank in scene.agent.hung_ranks]
    root = [*named, failed[choose_root(failed).position]][0]
    if not scene.agent.hung and (root.stopped or is_echo(root)):
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
        kind="hang" if scene.agent.hung else "",
        text=scene.agent.hung,
        refusal=scene.refusal,
        age=time() - failed.at,  # of one clock: the file was written, and the end seen, on this node
        stdout=_file(dest.stdouts.get(local)),
        stderr=_file(dest.stderrs.get(local)),
        again=again(scene.command.argv, scene.place, local, scene.node.local_world_size, _folder()),
    )


def _file(path: str | None) -> str:
    return os.path.abspath(path) if path and path != os.devnull else ""


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return ""
