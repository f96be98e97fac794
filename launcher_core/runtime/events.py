"""The diary of a launch: the events that torch elastic records, under its names, given to the recorders.

Source: torch elastic 2.13. Differences on purpose: `timestamp` is filled in, `entry_point` is the program's name,
and a launch whose workers failed is FAILED, not SUCCEEDED.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from time import monotonic, time
from typing import Any

from launcher_core.model.job import Command, Node, Place, Worker, WorkerExit
from launcher_core.model.record import Event, EventSource, MetadataValue
from launcher_core.model.settings import LaunchConfig
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
        self._join_begun = self._begun
        self._place: Place | None = None
        self._workers: dict[int, Worker] = {}

    def joining(self) -> None:
        """A rendezvous begins."""
        self._join_begun = monotonic()

    def formed(self, place: Place) -> None:
        """A rendezvous has ended, and with it the assignment of ranks."""
        taken = int((monotonic() - self._join_begun) * 1000)
        self._write("RENDEZVOUS", EventSource.AGENT, duration_ms=taken)
        self._place = place
        self._write("ASSIGN_WORKER_RANKS", EventSource.AGENT, duration_ms=0)

    def started(self, workers: Sequence[Worker], pids: Mapping[int, int]) -> None:
        """The workers of a round run."""
        self._workers = {worker.local_rank: worker for worker in workers}
        for worker in workers:
            self._write("START", EventSource.WORKER, worker=worker, pid=pids[worker.local_rank])

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

    def close(self) -> None:
        """Close the recorders."""
        self._recording.close()

    def _write(
        self,
        state: str,
        source: EventSource,
        worker: Worker | None = None,
        pid: int | None = None,
        raw_error: str | None = None,
        duration_ms: int | None = None,
        exit_code: int | None = None,
    ) -> None:
        place = self._place
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
        self._recording.record(Event(STATUS + state, source, int(time() * 1000), metadata))
