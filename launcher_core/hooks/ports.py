"""The shapes that plugins return. A plugin satisfies one by having its methods; it imports nothing from here.

The names and shapes of LogsSpecs, RendezvousHandler, RendezvousInfo and RendezvousBackend are torch elastic's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from launcher_core.model.capability import Capability
from launcher_core.model.job import Command, Node, Streams
from launcher_core.model.logs import LogsDest
from launcher_core.model.news import News
from launcher_core.model.record import Event


class Declaration(NamedTuple):
    """What a plugin says of itself before it is asked for anything."""

    capabilities: Capability = Capability.NONE
    keys: Mapping[str, str] | None = None
    """The --rdzv-conf keys it takes, each with its meaning and default in a few words. None: not checked."""


# --- logs specs ------------------------------------------------------------------------------------------


class LogsSpecs(Protocol):
    """Chooses the files that one start of a worker group writes to."""

    @property
    def root_log_dir(self) -> str:
        """The directory under which everything is written; empty when nothing is."""

    def reify(self, envs: dict[int, dict[str, str]]) -> LogsDest:
        """Create this start's directories and return its paths.

        `envs` maps local rank to that worker's environment; TORCHELASTIC_ERROR_FILE is added to each. Every
        start gets directories of its own: what an earlier start wrote is never touched.
        """


# --- start methods ---------------------------------------------------------------------------------------


class Child(Protocol):
    """One started worker. It leads a process group of its own: its pid is the group's id."""

    pid: int
    fd: int
    """Readable once the child has exited."""

    def exit_code(self) -> int:
        """Its exit status, minus the signal's number if a signal ended it. Call when `fd` is readable.

        The process stays a zombie, so that its group's id cannot be given to others before `reap`.
        """

    def value(self) -> Any:
        """What its function returned; None for commands. Raises ValueError when it cannot be read."""

    def reap(self) -> None:
        """Forget the child and close its descriptors. Its pid may be given to others from now on."""


class Starter(Protocol):
    """Starts workers in one way. Called from the agent's main thread only."""

    def start(self, command: Command, env: Mapping[str, str], streams: Streams) -> Child:
        """Start one worker with exactly this environment; raises OSError or ValueError when it cannot.

        The child leads a new session, has default signal dispositions and an empty signal mask, and inherits no
        descriptor of this process but `streams`.
        """

    def close(self) -> None:
        """Stop every helper process that was needed for starting. Children are not touched."""


# --- event recorders -------------------------------------------------------------------------------------


class Recorder(Protocol):
    """Is told every event, in order, by one thread. One that raises three times is dropped.

    The launcher's own events, beside torch elastic's, are for a recorder with an attribute `detailed` that is true.
    """

    def record(self, event: Event) -> None:
        """Take one event. May block for the time of a local write, not longer."""

    def close(self) -> None:
        """Write what is buffered. Called once, at the end."""


# --- services on the job's one port ----------------------------------------------------------------------


ATTACHED = "attached"
"""The address of a peer that is another thread of this process."""


class Peer(Protocol):
    """One client's connection, as its session sees it. Methods are called by the serving thread only."""

    address: str
    """Where it comes from; ATTACHED for one inside this process."""
    torn: bool
    """Whether the network ended it, which the client may not have seen; its own end is another thing."""

    def send(self, data: bytes) -> None:
        """Queue bytes for the client; never blocks."""

    def close(self) -> None:
        """Drop the connection once what was queued is sent."""


class Session(Protocol):
    """The serving end of one conversation. Sans-IO: bytes come in here, and leave by `peer.send`."""

    def receive(self, data: bytes) -> None:
        """Take the next bytes, split anywhere. Raises ValueError on nonsense: the connection is closed."""

    def lost(self) -> None:
        """The connection is gone; called exactly once, also after `peer.close`."""


class Service(Protocol):
    """A wire protocol that can share a port with others."""

    def claims(self, first: bytes) -> bool:
        """Whether a connection that opens with these bytes (at least one, at most eight) speaks this protocol."""

    def open(self, peer: Peer) -> Session:
        """Begin a conversation."""


class Store(Protocol):
    """The key-value store that workers meet at."""

    def serve(self) -> Service:
        """A service over a new, empty key space. Sessions of an earlier service never see its keys."""

    def connect(self, host: str, port: int, timeout: float) -> Any:
        """A client of a store that is served elsewhere; `timeout` seconds for it and its waits."""


# --- rendezvous ------------------------------------------------------------------------------------------


class RendezvousStoreInfo(NamedTuple):
    """Where workers meet."""

    master_addr: str
    master_port: int


class RendezvousInfo(NamedTuple):
    """One node's result of one round. `rank` and `world_size` count nodes."""

    store: Any
    rank: int
    world_size: int
    bootstrap_store_info: RendezvousStoreInfo


class RendezvousHandler(Protocol):
    """A rendezvous that runs by itself; its calls may block. All calls come from one thread."""

    def get_backend(self) -> str:
        """The name it is selected by."""

    @property
    def use_agent_store(self) -> bool:
        """Whether a store is served at the bootstrap address already, so that worker rank 0 must not."""

    def next_rendezvous(self) -> RendezvousInfo:
        """Wait for the next round. Raises a RendezvousError."""

    def is_closed(self) -> bool:
        """Whether the job is over for everybody."""

    def set_closed(self) -> None:
        """Declare the job over for everybody."""

    def num_nodes_waiting(self) -> int:
        """How many nodes wait to be let in; polled once every monitor interval while workers run."""

    def get_run_id(self) -> str:
        """The id of the job."""

    def shutdown(self) -> bool:
        """Release everything; called once at the end. False when closing the job failed."""


class Meeting(Protocol):
    """A rendezvous that pushes: nothing blocks, answers come as News through `tell`, from any thread.

    What is asked for, and what answers: join -> Formed, Over or Trouble. failed -> Regroup or Over. finished ->
    Over when all nodes have finished, Regroup when another failed and the job starts again. Regroup and Over
    may also come unasked.

    One that passes on more than reasons has a method `testify(round, testimony, told)`, too: what this node knows of a
    failure, a JSON object of 8 KiB at most or None, and, once its workers have ended, what became of them. It goes
    along with `failed`; an Over that is not `settled` asks every node, and another follows with the `verdict` of all.
    """

    def describe(self) -> dict[str, str]:
        """What --dry-run shows of it: addresses, who hosts and why, every timeout.

        MASTER_ADDR and MASTER_PORT, where they are keys, are what workers would get.
        """

    def start(self, tell: Callable[[News], None]) -> None:
        """Bind or connect in the background. Called once, before anything else but `describe`."""

    def join(self, node: Node) -> None:
        """Ask for a place in the next round."""

    def failed(self, round: int, reason: str, forgiven: int = 0) -> None:
        """This node's workers failed in that round; so many of the restarts that were spent count no more.

        `forgiven` is given with --restart-window only.
        """

    def finished(self, round: int) -> None:
        """This node's workers all succeeded in that round."""

    def abandon(self, reason: str) -> None:
        """Declare the job failed for everybody."""

    def requeue(self, reason: str) -> None:
        """Declare the job over for everybody, and to be started again: it was preempted.

        Where a meeting has no such method, `abandon` is called.
        """

    def leaving(self, reason: str) -> None:
        """This node goes away when its workers are gone; `leave` follows. Optional: for a meeting that ends by it."""

    def leave(self, reason: str) -> None:
        """This node goes away; the job may go on without it."""

    def close(self) -> None:
        """Release everything; called once, at the end. Blocks until the other members were told, for a bounded time."""


class RendezvousBackend(Protocol):
    """A shared register that supports compare-and-swap. One thread makes all calls to it, and may wait in them.

    A call raises OSError or a RendezvousConnectionError when the register cannot be reached just now, which is
    tried again; anything else ends the launch.
    """

    @property
    def name(self) -> str:
        """The name it is selected by."""

    def get_state(self) -> tuple[bytes, Any] | None:
        """The state and its fencing token; None when there is none yet."""

    def set_state(self, state: bytes, token: Any | None = None) -> tuple[bytes, Any, bool] | None:
        """Replace the state if `token` is still its token (None: if there is none); (state, token, whether set)."""


class WatchedBackend(RendezvousBackend, Protocol):
    """A register that tells of changes, so that nobody has to look every now and then (capability WATCH)."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called, by any thread, when something here may have changed. Called once, before the rest.

        A call too many does no harm; one that is missing is made up for by a look every few seconds.
        """

    def close(self) -> None:
        """Stop watching, and release everything. Called once, at the end."""


class LeasedBackend(WatchedBackend, Protocol):
    """A register beside which each node has an entry that ends with it (capability LEASE).

    The nodes' signs of life then never touch the state, and the node with the oldest entry writes it for all.
    """

    @property
    def lease_seconds(self) -> float:
        """How long an entry stands after the last sign of life of its node."""

    def enter(self, id: str, entry: bytes) -> None:
        """Put up or replace this node's entry. The backend keeps it alive by itself from then on."""

    def held_since(self) -> float:
        """When the newest sign of life that was answered had been sent, by `time.monotonic`: the entry stands for
        `lease_seconds` from then, for certain. Minus infinity when there is no entry, or it is known to be gone.
        """

    def leads(self) -> bool:
        """Whether this node's entry is the oldest of those that stand."""

    def entries(self) -> Mapping[str, bytes]:
        """The entries that stand, by node id, oldest first."""

    def withdraw(self) -> None:
        """Take this node's entry away; and the state with it, when it was the last."""


# --- policies --------------------------------------------------------------------------------------------


class Scene(Protocol):
    """One start of the workers, for a watch that wants more than their pids. From any thread; nothing waits."""

    round: int
    ranks: Mapping[int, int]
    """Local rank -> global rank."""
    world_size: int
    """Workers of all nodes."""
    dest: LogsDest
    """The files that the workers write to."""

    def heard(self, local_rank: int) -> float | None:
        """When the launcher last read something of its stderr, by `time.monotonic`; None where it reads none."""

    def said(self, local_rank: int) -> tuple[int, bytes]:
        """How many bytes of its stderr the launcher has read, and the last of them, 64 KiB at least; else none."""

    def report(self, reason: str, local_ranks: Sequence[int] = (), details: Sequence[str] = ()) -> None:
        """Tell people, recorders and --status what is wrong with these workers, and change nothing.

        `reason` is a sentence, `details` are lines that follow it.
        """

    def resumed(self, reason: str) -> None:
        """Take back what was reported: the workers go on."""

    def notice(self, text: str) -> None:
        """Tell people something that is no hang."""

    def explain(self, local_rank: int, text: str) -> None:
        """Have the report say this of the worker, as a note, if it ends badly."""

    def give_up(self, reason: str, local_ranks: Sequence[int] = (), *, restart: bool = True) -> None:
        """Have the group treated as failed, as `alarm` does, with these workers to blame; or have the job ended."""


class Watch(Protocol):
    """A detector of hangs or of bad health. It runs in a thread of its own between `start` and `stop`.

    One that has a method `attach(scene)` is given a Scene by it, right before each start.
    """

    def start(self, pids: Mapping[int, int], alarm: Callable[[str], None]) -> None:
        """Watch these workers (local rank -> pid); `alarm(reason)` has the group treated as failed."""

    def stop(self) -> None:
        """Stop watching; the workers are about to be stopped or have ended."""
