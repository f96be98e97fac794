"""The nouns of a running job: nodes, their places in a round, workers and how they end."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from launcher_core.model.value import Value


class WorkerState(str, Enum):
    """State of a worker group; torch elastic's names and texts."""

    UNKNOWN = "UNKNOWN"
    INIT = "INIT"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    @staticmethod
    def is_running(state: "WorkerState") -> bool:
        """Whether workers of a group in this state are alive."""
        return state in (WorkerState.HEALTHY, WorkerState.UNHEALTHY)


class Node(Value):
    """One agent, as it presents itself to the others."""

    id: str
    """Unique for this run of this agent: a restarted agent is another node."""
    name: str
    """What people call the machine; shown, never used to connect."""
    local_world_size: int
    role: str = "default"
    node_rank: int | None = None
    """The rank that the user asked for, None when any will do."""
    pid: int = 0


class Place(Value):
    """What one node is told when a round has formed: everything its workers need, nothing about the others."""

    round: int
    group_rank: int
    group_world_size: int
    base_rank: int
    """Global rank of this node's local rank 0; the others follow without a gap."""
    world_size: int
    base_role_rank: int
    role_world_size: int
    master_addr: str
    master_port: int
    restarts: int = 0
    """Restarts that the job has spent so far, the same number on every node."""
    use_agent_store: bool = True
    """Whether an agent serves the store at master_addr:master_port."""
    store: Any = None
    """A store client shared by the agents, where the rendezvous offers one."""


class Worker(Value):
    """One process to be: its ranks in the round."""

    local_rank: int
    rank: int
    role_rank: int


class Command(Value):
    """What every worker runs: a command line, or a Python function with its arguments."""

    argv: tuple[str, ...] = ()
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    name: str = ""
    """How the report calls it."""


class Streams(NamedTuple):
    """File descriptors of this process that become a child's 0, 1 and 2; never closed by the starter."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2


class WorkerExit(Value):
    """How one worker ended."""

    local_rank: int
    pid: int
    code: int
    """Exit status; minus the signal's number when a signal ended it."""
    at: float
    """Wall-clock seconds when the agent saw it."""
    stopped: bool = False
    """True when the agent had already told it to stop: its end explains nothing."""


class RunResult(Value):
    """Outcome of an agent's run: values and failures keyed by global rank, this node's workers only."""

    state: WorkerState
    return_values: Mapping[int, Any] = {}
    failures: Mapping[int, Any] = {}

    def is_failed(self) -> bool:
        """Whether the job did not succeed."""
        return self.state is not WorkerState.SUCCEEDED
