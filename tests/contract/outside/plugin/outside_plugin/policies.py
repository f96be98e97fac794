"""One policy for each policy hook. The entry points name objects."""

from __future__ import annotations

import os

from launcher_core import hookimpl
from outside_plugin.calls import note


class Door:
    """Admits a node while the file that $OUTSIDE_DOOR names is not there."""

    @hookimpl
    def launcher_admit(self, node, round):
        note("admit", node.local_world_size, "workers to round", round)
        closed = os.path.exists(os.environ.get("OUTSIDE_DOOR", ""))
        return "its door is closed" if closed else None


class LargestFirst:
    """Gives the node with the most workers group rank 0."""

    @hookimpl
    def launcher_assign_ranks(self, participants):
        order = sorted(participants, key=lambda node: -node.local_world_size)
        return [order.index(node) for node in participants]


class Ranks:
    """Answers whatever it was made with."""

    def __init__(self, answer):
        self._answer = answer

    @hookimpl
    def launcher_assign_ranks(self, participants, facts):
        note("ranks for", len(participants), facts["round"], sorted(facts["previous"].values()))
        return self._answer()


class NoSecondChance:
    """Restarts nothing that exited with 77."""

    @hookimpl
    def launcher_judge(self, failure, budget):
        note("judge", failure["local_rank"], failure["exit_code"], budget["spent"], budget["max_restarts"])
        return "stop" if failure["exit_code"] == 77 else None


class Confused:
    """Has a defect that shows when the job fails."""

    @hookimpl
    def launcher_judge(self, budget):
        return "restart" if budget["spent"] / budget["max_restarts"] < 1 else None


class Variables:
    """Adds variables to a worker's environment, and wins over the launcher's own."""

    @hookimpl
    def launcher_worker_env(self, worker, place):
        return {"OUTSIDE": f"{worker.rank} of {place.world_size}", "ROLE_NAME": "outside"}


class Alarm:
    """Raises the alarm as soon as it is told the workers' pids, if $OUTSIDE_ALARM says why."""

    @hookimpl
    def launcher_make_watch(self, config):
        note("watch for", config.run_id)
        return self

    def start(self, pids, alarm):
        note("watch started", sorted(pids))
        reason = os.environ.get("OUTSIDE_ALARM")
        if reason:
            alarm(reason)

    def stop(self):
        note("watch stopped")


class Blind:
    """A watch that raises what $OUTSIDE_RAISES says, when it is started or stopped."""

    @hookimpl
    def launcher_make_watch(self):
        return self

    def start(self, pids, alarm):
        self._do("start")

    def stop(self):
        self._do("stop")

    def _do(self, what):
        note(what)
        when, _, error = os.environ["OUTSIDE_RAISES"].partition(" ")
        if when == what:
            raise {"ValueError": ValueError, "KeyError": KeyError}[error]("no sensor")


class Numbers:
    """Forgets that variables are texts."""

    @hookimpl
    def launcher_worker_env(self):
        return {"OUTSIDE": 1}


numbers = Numbers()
door = Door()
largest_first = LargestFirst()
no_ranks = Ranks(lambda: None)
wrong_ranks = Ranks(lambda: [1, 2])
raising_ranks = Ranks(lambda: {}["rank"])
no_second_chance = NoSecondChance()
confused = Confused()
variables = Variables()
watch = Alarm()
blind = Blind()
