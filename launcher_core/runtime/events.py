"""The diary of a launch: the events that torch elastic records, under its names, given to the recorders.

Source: torch elastic 2.13. Differences on purpose: `timestamp` is filled in, `entry_point` is the program's name,
and a launch whose workers failed is FAILED, not SUCCEEDED. Beside them stand the launcher's own, in the same shape,
which say when a group was stopped and why: docs/events.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic, time
from typing import Any

from launcher_core import __version__
from launcher_core.model.job import Command, Node, Place, Worker, WorkerExit
from launcher_core.model.record import Event, EventSource, MetadataValue
from launcher_core.model.settings import LaunchConfig
from launcher_core.rules import chapters
from launcher_core.rules.chapters import Entry
from launcher_core.rules.steps import AgentEvent
from launcher_core.rules.supervise import Agent
from launcher_core.runtime.recording import Recording

STATUS = "torchelastic.worker.status."


class Diary:
    """Builds each event from what the agent knows and hands it to the recorders."""

    def __init__(self, config: LaunchConfig, command: Command, node: Node, recording: Recording) -> None:
        self._config = config
        self._entry_point = command.name
        self._node = node
        self._recording = recording
        self._begun = monotonic()
        self._clock_behind = time() - self._begun
        self._join_begun = self._begun
        self._place: Place | None = None
        self._workers: dict[int, Worker] = {}
        self._pids: Mapping[int, int] = {}
        self._ended = False
        self.states: list[tuple[str, int]] = []
        """The states that the agent came into, and when, in microseconds: for the sum at the end."""

    def begun(self) -> None:
        """The launch begins."""
        config = self._config
        counts = {"min_nodes": config.min_nodes, "max_nodes": config.max_nodes, "max_restarts": config.max_restarts}
        own = {"node": self._node.id, "agent_pid": self._node.pid, "version": __version__}
        self._note(Entry("BEGUN", {**own, **counts, "nproc_per_node": config.nproc_per_node}))

    def stepped(self, event: AgentEvent, before: Agent, after: Agent) -> None:
        """The agent has decided what to do about an event, and has not done it yet."""
        self._note_all(chapters.entries(event, before, after))

    def joining(self, agent: Agent) -> None:
        """A rendezvous begins."""
        self._join_begun = monotonic()
        self._note(Entry("JOINING", {"cause": chapters.join_cause(agent)}))

    def formed(self, place: Place) -> None:
        """A rendezvous has ended, and with it the assignment of ranks."""
        taken = int((monotonic() - self._join_begun) * 1000)
        self._write("RENDEZVOUS", EventSource.AGENT, duration_ms=taken)
        self._place = place
        self._write("ASSIGN_WORKER_RANKS", EventSource.AGENT, duration_ms=0)
        ranks = {"world_size": place.world_size, "base_rank": place.base_rank}
        self._note(Entry("STARTING", ranks))

    def started(self, workers: Sequence[Worker], pids: Mapping[int, int]) -> None:
        """The workers of a round run."""
        self._workers = {worker.local_rank: worker for worker in workers}
        self._pids = dict(pids)
        for worker in workers:
            self._write("START", EventSource.WORKER, worker=worker, pid=pids[worker.local_rank])
        self._note_all(Entry("STARTED", local_rank=worker.local_rank) for worker in workers)
        self._note(Entry("RUNNING"))

    def ended(self, state: str, exits: Sequence[WorkerExit], failures: Mapping[int, Any]) -> None:
        """The run is over: one event for each worker of the last round, by local rank."""
        for exit in sorted(exits, key=lambda exit: exit.local_rank):
            failure = failures.get(exit.local_rank)
            error = json.dumps(failure.error_file_data) if failure is not None and not exit.stopped else None
            self._write(
                "TERMINATED" if exit.stopped else state,
                EventSource.WORKER,
                worker=self._workers.get(exit.local_rank),
                pid=exit.pid,
                raw_error=error,
                exit_code=exit.code,
            )

    def agent_ended(self, state: str, raw_error: str | None = None) -> None:
        """The launch is over: the one event about the agent."""
        self._write(state, EventSource.AGENT, raw_error=raw_error)
        self._end(state, raw_error)

    def close(self) -> None:
        """Close the recorders."""
        if not self._ended:
            self._end("FAILED")
        self._recording.close()

    def _end(self, result: str, raw_error: str | None = None) -> None:
        self._ended = True
        self._note(Entry("ENDED", {"result": result}), raw_error)

    def _note_all(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._note(entry)

    def _note(self, entry: Entry, raw_error: str | None = None) -> None:
        """Write one of the launcher's own events."""
        if entry.local_rank is None and entry.state != "SIGNALLED":
            self.states.append((entry.state, self._now()))
        if not self._recording.wants_detail:
            return
        fields = dict(entry.fields)
        code = fields.pop("exit_code", None)
        local = entry.local_rank
        self._write(
            entry.state,
            EventSource.AGENT if local is None else EventSource.WORKER,
            worker=None if local is None else self._workers.get(local),
            pid=None if local is None else self._pids.get(local),
            raw_error=raw_error,
            exit_code=code,
            own={"schema": chapters.SCHEMA, "round": self._place.round if self._place else None, **fields},
        )

    def _now(self) -> int:
        """Wall-clock microseconds; they do not jump when the clock is set."""
        return int((monotonic() + self._clock_behind) * 1e6)

    def _write(
        self,
        state: str,
        source: EventSource,
        worker: Worker | None = None,
        pid: int | None = None,
        raw_error: str | None = None,
        duration_ms: int | None = None,
        exit_code: int | None = None,
        own: Mapping[str, Any] | None = None,
    ) -> None:
        """Give the recorders an event: one of torch's, or with `own` fields one of the launcher's."""
        place = self._place
        at = self._now()
        inner: dict[str, Any] = {
            "group_world_size": place.group_world_size if place else None,
            "entry_point": self._entry_point,
        }
        if worker is not None and place is not None:
            # one-element lists, as torch 2.13 records them
            inner["local_rank"] = (worker.local_rank,)
            inner["role_rank"] = (worker.role_rank,)
            inner["role_world_size"] = (place.role_world_size,)
            inner["exit_code"] = (exit_code,)
            inner["worker_pid"] = (pid,)
        prefix = STATUS
        if own is not None:
            prefix = chapters.AGENT if source is EventSource.AGENT else chapters.WORKER
            inner |= {**own, "time_us": at}
        metadata: dict[str, MetadataValue] = {
            "run_id": self._config.run_id,
            "global_rank": worker.rank if worker else None,
            "group_rank": place.group_rank if place else None,
            "worker_id": str(pid) if worker else None,
            "role": self._config.role,
            "hostname": self._node.name,
            "state": state,
            "total_run_time": int(monotonic() - self._begun),
            "rdzv_backend": self._config.rdzv_backend,
            "raw_error": raw_error,
            "metadata": json.dumps(inner),
            "agent_restarts": place.restarts if place else 0,
            "duration_ms": duration_ms,
        }
        self._recording.record(Event(prefix + state, source, at // 1000, metadata), detail=own is not None)
