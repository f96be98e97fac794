"""Asks the plugins that were named for what a launch needs, and checks that it fits together. Starts nothing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from launcher_core.errors import UsageError
from launcher_core.hooks.manager import Plugin, Plugins
from launcher_core.hooks.ports import Meeting, Recorder, RendezvousBackend, Scene, Starter, Store, Watch
from launcher_core.hooks.specs import POLICY_GROUP
from launcher_core.model.capability import Capability
from launcher_core.model.job import Command, Node
from launcher_core.model.settings import LaunchConfig, RendezvousParameters
from launcher_core.runtime.watching import Late

OWN_WATCH = "hang"
TORCH_TIMERS = "torch-timers"
HANG_ACTIONS = ("report", "restart", "stop")


def choose_meeting(config: LaunchConfig, plugins: Plugins, policies: Sequence[Plugin]) -> Meeting:
    """The meeting that the rendezvous plugin makes, or that the core runs over what it makes. Raises UsageError."""
    chosen = plugins.choose("launcher.rendezvous", config.rdzv_backend)
    declared = chosen.declaration()
    conf = dict(config.rdzv_configs)
    _check_keys(config.rdzv_backend, conf, declared.keys)
    _check_elastic(config, chosen, declared.capabilities)
    if config.rdzv_timeout != -1:
        conf["timeout"] = config.rdzv_timeout
    assigners = [one for one in policies if one.has("launcher_assign_ranks")]
    conf["max_restarts"] = config.max_restarts
    if assigners:
        from launcher_core.hooks.ranking import RankPolicies  # seldom wanted

        conf["assign"] = RankPolicies(assigners, lambda text: plugins.tell(text))
    try:
        params = RendezvousParameters(
            config.rdzv_backend,
            config.rdzv_endpoint,
            config.run_id,
            config.min_nodes,
            config.max_nodes,
            config.local_addr,
            **conf,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    store = _store(params, plugins) if Capability.SHARES_STORE in declared.capabilities else None
    made = chosen.ask("launcher_make_rendezvous", params=params, store=store)
    if assigners and (Capability.RANKS_FIXED in declared.capabilities or hasattr(made, "next_rendezvous")):
        plugins.notices.append(f"{assigners[0].found} assigns no ranks: {chosen.found} does it by itself")
    if hasattr(made, "get_state") and hasattr(made, "set_state"):
        return _over_register(made, params, store or _store(params, plugins))
    meeting = _as_meeting(made, config, chosen)
    if config.retry.window is not None:
        _check_window(meeting, chosen)
    return meeting


def _check_window(meeting: Meeting, chosen: Plugin) -> None:
    """Raise UsageError when the meeting is a plugin's own that knows nothing of restarts which count no more."""
    import inspect

    try:
        inspect.signature(meeting.failed).bind(0, "", 0)
    except TypeError:
        raise UsageError(f"--restart-window: {chosen.found} takes no account of it; leave it out") from None


def _check_elastic(config: LaunchConfig, chosen: Plugin, capabilities: Capability) -> None:
    """Raise UsageError when the number of nodes may vary, and the rendezvous says what it can do, but not that."""
    enough = Capability.ELASTIC | Capability.RANKS_FIXED  # with fixed ranks the launch waits for all MAX nodes
    if config.min_nodes != config.max_nodes and chosen.has("launcher_declare") and not capabilities & enough:
        raise UsageError(
            f"--nnodes={config.min_nodes}:{config.max_nodes}: {chosen.found} does not let nodes come and go; write one "
            "number, or choose another --rdzv-backend"
        )


def _store(params: RendezvousParameters, plugins: Plugins) -> Store:
    made: Store = plugins.choose("launcher.stores", params.get("store", "c10d")).ask(
        "launcher_make_store", params=params
    )
    return made


def _over_register(backend: RendezvousBackend, params: RendezvousParameters, store: Store) -> Meeting:
    """The rendezvous that the core runs over a register, with the --rdzv-conf timeouts of c10d."""
    from launcher_core.rules.clerk import Clerk
    from launcher_core.rules.register import Terms
    from launcher_core.rules.round import Limits
    from launcher_core.runtime.register_meeting import RegisterMeeting

    silence = params.get_as_seconds("keep_alive_interval", 5) * params.get_as_seconds("keep_alive_max_attempt", 3)
    last_call = params.get_as_seconds("last_call_timeout", 30)
    terms = Terms(
        Limits(params.min_nodes, params.max_nodes, last_call, int(params.get("max_restarts", 0)), late_losses=True),
        params.get_as_seconds("join_timeout", 600),
        float(getattr(backend, "lease_seconds", silence)),
        f"the register of {backend.name}",
    )
    clerk = Clerk(terms, params.get("assign"), leased=hasattr(backend, "enter"))
    return RegisterMeeting(backend, store, clerk, params.get_as_seconds("poll_interval", 0.2), params.local_addr)


def _as_meeting(made: Any, config: LaunchConfig, chosen: Plugin) -> Meeting:
    if hasattr(made, "join") and hasattr(made, "abandon"):
        meeting: Meeting = made
        return meeting
    if hasattr(made, "next_rendezvous"):
        from launcher_core.runtime.handler_meeting import HandlerMeeting

        return HandlerMeeting(made, config.max_restarts, config.monitor_interval)
    raise UsageError(
        f"--rdzv-backend={config.rdzv_backend}: {chosen.found} returned {type(made).__name__}, which is no "
        "Meeting (join, failed, finished ...), no RendezvousHandler (next_rendezvous, shutdown ...) and no "
        "RendezvousBackend (get_state, set_state)"
    )


def _check_keys(backend: str, conf: Mapping[str, Any], known: Mapping[str, str] | None) -> None:
    unknown = sorted(set(conf) - set(known)) if known is not None else []
    if not unknown or known is None:
        return
    from difflib import get_close_matches

    longer = [key for key in known if key.endswith(f"_{unknown[0]}")]
    close = longer or get_close_matches(unknown[0], list(known), n=1)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise UsageError(f"--rdzv-conf: {backend} has no key {unknown[0]!r}; {hint}it takes {', '.join(sorted(known))}")


def choose_starter(config: LaunchConfig, command: Command, plugins: Plugins) -> Starter:
    """The starter for functions or for commands, whichever the launch runs."""
    name = config.start_method
    if command.function is None:
        if name in ("spawn", "fork", "forkserver"):
            name = "exec"
        wanted, what = Capability.COMMANDS, "commands"
    else:
        wanted, what = Capability.FUNCTIONS, "Python functions"
    chosen = plugins.choose("launcher.start_methods", name)
    if wanted not in chosen.declaration().capabilities:
        raise UsageError(f"--start-method={name}: {chosen.found} does not start {what}")
    made: Starter = chosen.ask("launcher_make_starter")
    return made


def choose_recorders(config: LaunchConfig, plugins: Plugins) -> Iterator[tuple[str, Recorder]]:
    """The recorders of `--event-log-handler`, with their names, in the order given."""
    for item in config.event_log_handler.split(","):
        name, given, argument = item.strip().partition("=")
        chosen = plugins.choose("launcher.event_recorders", name)
        recorder = chosen.ask(
            "launcher_make_recorder", argument=argument if given else None, log_dir=config.logs.log_dir
        )
        yield name, recorder


class GuardedWatch:
    """A policy's watch; what it raises is said to be that policy's."""

    def __init__(self, policy: Plugin, watch: Watch) -> None:
        self._policy = policy
        self._watch = watch

    def attach(self, scene: Scene) -> None:
        """As the policy's own; nothing where it has no such method."""
        attach = getattr(self._watch, "attach", None)
        if attach is not None:
            with self._policy.answering("Watch.attach"):
                attach(scene)

    def start(self, pids: Mapping[int, int], alarm: Callable[[str], None]) -> None:
        """As the policy's own."""
        with self._policy.answering("Watch.start"):
            self._watch.start(pids, alarm)

    def stop(self) -> None:
        """As the policy's own."""
        with self._policy.answering("Watch.stop"):
            self._watch.stop()


def watches(policies: Sequence[Plugin], config: LaunchConfig) -> tuple[GuardedWatch, ...]:
    """The detectors of the policies that have one."""
    made = ((one, one.ask("launcher_make_watch", config=config)) for one in policies)
    return tuple(GuardedWatch(policy, watch) for policy, watch in made if watch is not None)


def policy_names(config: LaunchConfig, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The policies that were named, and the one that torch elastic's variable asks for."""
    timers = environ.get("TORCHELASTIC_ENABLE_FILE_TIMER") == "1" and TORCH_TIMERS not in config.policies
    return (*config.policies, TORCH_TIMERS) if timers else config.policies


def late_watch(config: LaunchConfig, plugins: Plugins) -> Late | None:
    """The launcher's own watch, to be made when its first look is due; None for none. Raises UsageError."""
    if config.hang_action not in HANG_ACTIONS or not 0 <= config.hang_timeout < float("inf"):
        raise UsageError(
            f"hang_timeout={config.hang_timeout}, hang_action={config.hang_action!r}: write seconds, 0 or more, and "
            f"one of {', '.join(HANG_ACTIONS)}"
        )
    if not (config.hang_timeout or config.hang_pattern) or OWN_WATCH in config.policies:
        return None
    first = 1.0 if config.hang_pattern else min(30.0, max(1.0, config.hang_timeout / 10))
    return Late(lambda: watches([plugins.choose(POLICY_GROUP, OWN_WATCH)], config), first)


def policy_calls(policies: Sequence[Plugin]) -> tuple[Any, Any, Any, Any]:
    """The policies as functions: who may join, whether to restart, what else a worker's environment holds, and what is
    done before a preempted job is stopped (returns what went wrong)."""

    def admit(node: Node, round: int) -> str | None:
        answers = (one.ask("launcher_admit", node=node, round=round) for one in policies)
        return next((answer for answer in answers if answer), None)

    def judge(failure: Mapping[str, Any], budget: Mapping[str, int]) -> str | None:
        answers = (one.ask("launcher_judge", failure=failure, budget=budget) for one in policies)
        return next((answer for answer in answers if answer), None)

    def extra_env(worker: Any, place: Any) -> dict[str, str]:
        env: dict[str, str] = {}
        for one in policies:
            env.update(one.ask("launcher_worker_env", worker=worker, place=place) or {})
        return env

    def preempted(notice: str, seconds: float) -> list[str]:
        faults = []
        for one in policies:
            try:
                one.ask("launcher_preempted", notice=notice, seconds=seconds)
            except Exception as error:
                faults.append(f"launcher_preempted of {one.found} failed: {type(error).__name__}: {error}")
        return faults

    return admit, judge, extra_env, preempted
