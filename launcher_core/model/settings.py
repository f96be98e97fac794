"""What a launch is asked to do: LaunchConfig, and the part of it that a rendezvous is given."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from launcher_core.errors import UsageError
from launcher_core.model.logs import Std, StdChoice
from launcher_core.model.value import Value

DEFAULT_SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGQUIT"
RDZV_CONF = "--rdzv-conf"
TRUE_TEXTS = ("1", "true", "t", "yes", "y")
FALSE_TEXTS = ("0", "false", "f", "no", "n")

MOST = 10
"""Times the grace: how long a worker may take to end when it asks for more time, unless the user says."""
LONGEST = 1e9
"""Seconds, 31 years: a longer time comes to the same, and is more than the system's calls take."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""An empty mapping that nobody can fill."""


class LogsConfig(NamedTuple):
    """Where output shall go, as asked for; a logs-specs plugin turns it into paths."""

    log_dir: str | None = None
    redirects: StdChoice = Std.NONE
    tee: StdChoice = Std.NONE
    local_ranks_filter: frozenset[int] | None = None


class Retry(Value):
    """Which failures are worth another start, and when. Times are seconds."""

    backoff: float = 0.0
    """The pause before the first restart; each further one takes twice as long."""
    backoff_max: float | None = None
    """The longest pause; None for 64 times the first."""
    window: float | None = None
    """How long a restart counts; None for ever."""
    min_uptime: float = 0.0
    """A group that failed sooner after its start is not started again."""
    same_failure: bool = False
    """Whether the same exception twice at the start is tried again, too."""


class LaunchConfig(NamedTuple):
    """One launch. Fields, order and defaults are torch elastic's up to `shutdown_timeout`; the others are ours.

    Times are seconds. `shutdown_timeout` is the grace between a polite stop and SIGKILL.
    """

    min_nodes: int
    max_nodes: int
    nproc_per_node: int
    logs_specs: Any = None
    """A LogsSpecs object; None asks the plugin named by `logs` to make one."""
    run_id: str = ""
    role: str = "default_role"
    rdzv_endpoint: str = ""
    rdzv_backend: str = "c10d"
    rdzv_configs: Mapping[str, Any] = NOTHING
    rdzv_timeout: int = -1
    max_restarts: int = 3
    monitor_interval: float = 0.1
    start_method: str = "spawn"
    log_line_prefix_template: str | None = None
    metrics_cfg: Mapping[str, str] = NOTHING
    local_addr: str | None = None
    event_log_handler: str = "null"
    numa_options: Any = None
    signals_to_handle: str = DEFAULT_SIGNALS
    duplicate_stdout_filters: list[str] | None = None
    duplicate_stderr_filters: list[str] | None = None
    virtual_local_rank: bool = False
    shutdown_timeout: float | None = None

    logs_plugin: str = "default"
    logs: LogsConfig = LogsConfig()
    node_rank: int | None = None
    policies: tuple[str, ...] = ()
    exit_barrier_timeout: float = 300.0
    stdin: str = "0"
    """Which local rank reads the launcher's standard input: a number, "all" or "none"."""
    report_lines: int = 20
    """How many last lines of a failed worker's stderr the report shows; 0 leaves stderr untouched."""
    worker_env: Mapping[str, str] = NOTHING
    """Variables that every worker gets beside the launcher's own environment."""
    health: tuple[str, int] | None = None
    """Where a scheduler's probe may ask whether all is well: a host ("" for all addresses) and a port."""
    forward_signals: str = ""
    """Which signals to the launcher are passed on to its workers, without any other effect: as `signals_to_handle`."""
    retry: Retry = Retry()
    status_line: str = "off"
    """Whether a terminal shows how the launch stands: "auto" or "off"."""
    hang_timeout: float = 300.0
    """How long no worker of a node may make progress before that is a hang; 0 does not look."""
    hang_action: str = "report"
    """What becomes of a hang: "report", "restart" or "stop"."""
    hang_pattern: str = ""
    """A regular expression: a line of a worker's output with it says that the worker hangs."""
    progress_pattern: str = ""
    """A regular expression: when no line with it comes for the hang timeout, after a first one, that is a hang."""
    preempt_signal: str = ""
    """Which signals to the launcher are the notice of a preemption: as `signals_to_handle`."""
    preempt_file: str = ""
    """A file that is such a notice when it appears, or is written again."""
    on_preempt: str = ""
    """A shell command to be run before a preempted job is stopped."""
    max_shutdown_timeout: float | None = None
    """How long workers that ask for more than the grace get in all; None is MOST times the grace."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is copied, and sent to another process: without what is NOTHING, which could not be."""
        return _config, ({name: value for name, value in self._asdict().items() if value is not NOTHING},)


def _config(fields: Mapping[str, Any]) -> LaunchConfig:
    return LaunchConfig(**fields)


class RendezvousParameters:
    """What a rendezvous backend is told. `config` values are strings when they come from --rdzv-conf."""

    def __init__(
        self,
        backend: str,
        endpoint: str,
        run_id: str,
        min_nodes: int,
        max_nodes: int,
        local_addr: str | None = None,
        **config: Any,
    ) -> None:
        if not backend:
            raise ValueError("the name of the rendezvous backend is empty")
        if min_nodes < 1:
            raise ValueError(f"min_nodes={min_nodes}: at least one node is needed")
        if max_nodes < min_nodes:
            raise ValueError(f"max_nodes={max_nodes} is less than min_nodes={min_nodes}")
        self.backend = backend
        self.endpoint = endpoint
        self.run_id = run_id
        self.min_nodes = min_nodes
        self.max_nodes = max_nodes
        self.local_addr = local_addr
        self.config = config

    def get(self, key: str, default: Any = None) -> Any:
        """The value given for `key`, else `default`."""
        return self.config.get(key, default)

    def get_as_bool(self, key: str, default: bool | None = None) -> bool | None:
        """The value of `key` as a bool; raises UsageError, a ValueError, when it is neither yes nor no."""
        value = self.get(key, default)
        if value is None or isinstance(value, bool):
            return value
        text = str(value).lower()
        if text in TRUE_TEXTS:
            return True
        if text in FALSE_TEXTS:
            return False
        raise UsageError(f"{RDZV_CONF} {key}={value!r}: write one of {', '.join(TRUE_TEXTS + FALSE_TEXTS)}")

    def get_as_seconds(self, key: str, default: float) -> float:
        """The value of `key` as seconds, LONGEST at most; raises UsageError unless it is a finite number above 0."""
        text = self.get(key, default)
        try:
            value = float(text)
        except (TypeError, ValueError):
            value = -1.0
        if not 0 < value < float("inf"):
            raise UsageError(f"{RDZV_CONF} {key}={text!r}: write a number of seconds above 0")
        return min(value, LONGEST)

    def get_as_int(self, key: str, default: int | None = None) -> int | None:
        """The value of `key` as an int; raises UsageError when it is not one."""
        value = self.get(key, default)
        if value is None:
            return None
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{RDZV_CONF} {key}={value!r}: write a whole number") from error
