"""From a command line, variables and facts to a request with nothing left to decide."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import pytest

from launcher_core.cli.facts import Facts
from launcher_core.cli.parse import Origin
from launcher_core.cli.parser import get_args_parser
from launcher_core.cli.resolve import Resolved, blamed, local_world_size, resolve, resolve_args
from launcher_core.errors import NodesError, PluginError, UsageError
from launcher_core.model.job import Command
from launcher_core.model.logs import Std
from launcher_core.model.settings import LaunchConfig, LogsConfig, Retry
from launcher_core.worker.script import run_script_path

COUNTS = {"auto": 8, "cpu": 16, "gpu": 8}


def count(word: str) -> int:
    if word not in COUNTS:
        raise UsageError(f"--nproc-per-node={word}: there is none")
    return COUNTS[word]


def facts(**environ: str) -> Facts:
    """A machine with eight GPUs, the files s.py and dir/s.py, and the programs prog, ./prog and python-x."""
    return Facts(
        environ=environ,
        executable="/usr/bin/python",
        count=count,
        exists=lambda path: path in ("s.py", "dir/s.py"),
        find_program=lambda name: name if name in ("prog", "./prog", "python-x") else None,
        new_run_id=lambda: "random-id",
    )


def resolved(*argv: str, **environ: str) -> Resolved:
    return resolve(argv, facts=facts(**environ))


def refused(*argv: str, **environ: str) -> str:
    with pytest.raises(UsageError) as caught:
        resolved(*argv, **environ)
    return str(caught.value)


def meeting(request: Resolved) -> tuple[Any, ...]:
    config = request.config
    return config.rdzv_backend, config.rdzv_endpoint, config.run_id, config.node_rank


def fields(config: LaunchConfig) -> dict[str, Any]:
    """All of a configuration but `logs`."""
    return {name: value for name, value in config._asdict().items() if name != "logs"}


# --- everything together ---------------------------------------------------------------------------------


def test_a_bare_script_is_one_worker_that_meets_nobody() -> None:
    request = resolved("s.py")
    config = request.config
    assert request._replace(config=config, origin={}) == Resolved(
        config, Command(argv=("/usr/bin/python", "-u", "s.py"), name="s.py"), "one", "", {}, ()
    )
    assert fields(config) == {
        "min_nodes": 1, "max_nodes": 1, "nproc_per_node": 1, "logs_specs": None, "run_id": "random-id",
        "role": "default", "rdzv_endpoint": "127.0.0.1:0", "rdzv_backend": "c10d", "rdzv_configs": {},
        "rdzv_timeout": -1, "max_restarts": 0, "monitor_interval": 0.1, "start_method": "spawn",
        "log_line_prefix_template": None, "metrics_cfg": {}, "local_addr": None, "event_log_handler": "null",
        "numa_options": None, "signals_to_handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT",
        "duplicate_stdout_filters": [], "duplicate_stderr_filters": [], "virtual_local_rank": False,
        "shutdown_timeout": 30.0, "logs_plugin": "default", "node_rank": None, "policies": (),
        "exit_barrier_timeout": 300.0, "stdin": "0", "report_lines": 20, "worker_env": {}, "health": None,
        "forward_signals": "", "retry": Retry(), "status_line": "auto", "hang_timeout": 300.0, "hang_action": "report",
        "hang_pattern": "", "progress_pattern": "",
        "preempt_signal": "", "preempt_file": "", "on_preempt": "", "max_shutdown_timeout": 300.0,
    }  # fmt: skip


def test_every_flag_arrives() -> None:
    request = resolved(
        "--nnodes=2:3", "--nproc-per-node=4", "--rdzv-backend=c10d", "--rdzv-endpoint=h:1", "--rdzv-id=job",
        "--rdzv-conf=join_timeout=5", "--max-restarts=2", "--monitor-interval=1", "--start-method=fork",
        "--event-log-handler=console", "--role=ps", "--log-dir=/logs", "-r3", "-t", "0:1,3:2",
        "--local-ranks-filter=0, 2,0", "--duplicate-stdout-filters=a,b", "--duplicate-stderr-filters=c",
        "--node-rank=2", "--local-addr=10.0.0.1", "--logs-specs=mine", "--numa-binding=node",
        "--signals-to-handle=sigusr1,TERM,SIGTERM", "--shutdown-timeout=5", "--virtual-local-rank",
        "--log-line-prefix-template=[${rank}] ", "--dry-run=json", "--exit-code=worker",
        "--exit-barrier-timeout=7.5", "--policy=a, b", "--stdin=none", "--report-lines=0",
        "--health-port=[::1]:80", "--report=out/report.json", "--forward-signals=usr2, SIGHUP,USR2",
        "--restart-backoff=2:60", "--restart-window=600", "--restart-min-uptime=10", "--retry-same-failure",
        "--status-line=off", "--hang-timeout=2.5", "--hang-action=stop", "--preempt-signal=xcpu",
        "--preempt-file=/tmp/notice", "--on-preempt=sync", "--max-shutdown-timeout=8",
        "--hang-pattern=NCCL WARN.*timeout", "--progress-pattern=^step", "s.py",
        OMP_NUM_THREADS="",
    )  # fmt: skip
    config = request.config
    assert (request.exit_code, request.dry_run, request.notices) == ("worker", "json", ())
    assert request.report == "out/report.json"
    assert config.logs == LogsConfig("/logs", Std.ALL, {0: Std.OUT, 3: Std.ERR}, frozenset({0, 2}))
    assert fields(config) == {
        "min_nodes": 2, "max_nodes": 3, "nproc_per_node": 4, "logs_specs": None, "run_id": "job",
        "role": "ps", "rdzv_endpoint": "h:1", "rdzv_backend": "c10d", "rdzv_configs": {"join_timeout": "5"},
        "rdzv_timeout": -1, "max_restarts": 2, "monitor_interval": 1.0, "start_method": "fork",
        "log_line_prefix_template": "[${rank}] ", "metrics_cfg": {}, "local_addr": "10.0.0.1",
        "event_log_handler": "console", "numa_options": "node", "signals_to_handle": "SIGUSR1,SIGTERM",
        "duplicate_stdout_filters": ["a", "b"], "duplicate_stderr_filters": ["c"], "virtual_local_rank": True,
        "shutdown_timeout": 5.0, "logs_plugin": "mine", "node_rank": 2, "policies": ("a", "b"),
        "exit_barrier_timeout": 7.5, "stdin": "none", "report_lines": 0, "worker_env": {}, "health": ("::1", 80),
        "forward_signals": "SIGUSR2,SIGHUP", "retry": Retry(2.0, 60.0, 600.0, 10.0, True),
        "status_line": "off", "hang_timeout": 2.5, "hang_action": "stop",
        "hang_pattern": "NCCL WARN.*timeout", "progress_pattern": "^step",
        "preempt_signal": "SIGXCPU", "preempt_file": "/tmp/notice", "on_preempt": "sync", "max_shutdown_timeout": 8.0,
    }  # fmt: skip


def test_every_setting_says_where_it_is_from() -> None:
    request = resolved("--nproc=auto", "-r3", "s.py", PET_ROLE="ps", TORCH_ELASTIC_SHUTDOWN_TIMEOUT="9")
    wanted = ("nproc_per_node", "redirects", "role", "shutdown_timeout", "rdzv_backend", "rdzv_id", "tee")
    assert {dest: request.origin[dest] for dest in (*wanted, "OMP_NUM_THREADS")} == {
        "nproc_per_node": Origin(8, "flag", "--nproc=auto"),
        "redirects": Origin(Std.ALL, "flag", "-r3"),
        "role": Origin("ps", "variable", "PET_ROLE"),
        "shutdown_timeout": Origin(9.0, "variable", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"),
        "rdzv_backend": Origin("c10d", "rule", "one node, no port given"),
        "rdzv_id": Origin("random-id", "rule", "random, for one node that nobody can join"),
        "tee": Origin(Std.NONE, "default", "default"),
        "OMP_NUM_THREADS": Origin("1", "rule", "several workers on one node"),
    }


# --- where the nodes meet --------------------------------------------------------------------------------

PRIVATE = ("c10d", "127.0.0.1:0", "random-id", None)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], PRIVATE),
        (["--nnodes=1:1"], PRIVATE),
        (["--standalone"], PRIVATE),
        (["--standalone", "--nnodes=1"], PRIVATE),
        (["--rdzv-id=foo"], ("c10d", "127.0.0.1:0", "foo", None)),
        (["--rdzv-id="], PRIVATE),
        (["--standalone", "--rdzv-id=foo"], ("c10d", "127.0.0.1:0", "foo", None)),
        (["--node-rank=0"], ("c10d", "127.0.0.1:0", "random-id", 0)),
        (["--master-port=0"], PRIVATE),
        (["--rdzv-endpoint=localhost:0"], ("c10d", "localhost:0", "random-id", None)),
        (["--master-addr=h", "--master-port=29501", "--node-rank=0"], ("static", "h:29501", "none", 0)),
        (["--master-port=29501"], ("static", "127.0.0.1:29501", "none", 0)),
        (["--nnodes=2"], ("static", "127.0.0.1:29500", "none", 0)),
        (["--nnodes=2", "--master-addr=::1", "--node-rank=1"], ("static", "[::1]:29500", "none", 1)),
        (["--nnodes=2", "--rdzv-endpoint=h:1", "--rdzv-id=x"], ("static", "h:1", "x", 0)),
        (["--rdzv-backend=c10d"], ("c10d", "127.0.0.1:0", "none", None)),
        (["--rdzv-backend=c10d", "--nnodes=1:2", "--rdzv-endpoint=h"], ("c10d", "h", "none", None)),
        (["--rdzv-backend=c10d", "--nnodes=2", "--rdzv-endpoint=h:0x"], None),
        (["--rdzv-backend=mine", "--nnodes=2", "--rdzv-endpoint=f:///x"], ("mine", "f:///x", "none", None)),
    ],
)
def test_nodes_meet_where_the_options_say(argv: Sequence[str], expected: tuple[Any, ...] | None) -> None:
    if expected is None:
        assert "write a number up to 65535" in refused(*argv, "s.py")
    else:
        request = resolved(*argv, "s.py")
        assert (meeting(request), request.notices) == (expected, ())


@pytest.mark.parametrize(
    ("argv", "place", "notice"),
    [
        (["--master-addr=node7"], "node7:0",
         "--master-addr=node7 without --master-port: meeting there, at a free port"),
        (["--rdzv-backend=static"], "127.0.0.1:0",
         "--rdzv-backend=static for one node without a port: meeting over c10d at a free port instead"),
        (["--standalone", "--rdzv-backend=c10d", "--rdzv-endpoint=h:1"], "127.0.0.1:0",
         "--rdzv-endpoint=h:1 has no effect: --standalone meets over c10d on 127.0.0.1, at a free port"),
        (["--stand", "--rdzv-b=static", "--master-port=1"], "127.0.0.1:0",
         "--rdzv-b=static, --master-port=1 have no effect: "
         "--stand meets over c10d on 127.0.0.1, at a free port"),
        (["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=h:1", "--master-addr=x"], "h:1",
         "--master-addr=x has no effect: c10d meets at --rdzv-endpoint"),
        (["--nnodes=2", "--rdzv-endpoint=h:1", "--master-port=5"], "h:1",
         "--master-port=5 has no effect: --rdzv-endpoint says where to meet"),
        (["--nnodes=1:2", "--master-port=5"], "127.0.0.1:5",
         "static waits for all 2 nodes: the minimum of --nnodes=1:2 is not used"),
        (["--nnodes=2", "--rdzv-backend=c10d"], "localhost:29400",
         "no --rdzv-endpoint for several nodes: using localhost:29400, which other machines cannot reach"),
    ],
)  # fmt: skip
def test_what_is_decided_against_a_flag_is_said(argv: Sequence[str], place: str, notice: str) -> None:
    request = resolved(*argv, "s.py")
    assert (request.config.rdzv_endpoint, request.notices) == (place, (notice,))


def test_variables_of_a_site_that_have_no_effect_make_no_noise() -> None:
    request = resolved("--standalone", "s.py", PET_RDZV_BACKEND="static", PET_MASTER_PORT="1")
    assert (meeting(request), request.notices) == (PRIVATE, ())


def test_static_is_told_its_rank() -> None:
    request = resolved("--nnodes=3", "--node-rank=2", "--rdzv-conf=timeout=5", "s.py")
    assert request.config.rdzv_configs == {"timeout": "5", "rank": 2}


def test_static_takes_its_rank_from_the_conf_where_no_flag_gives_it() -> None:
    request = resolved("--nnodes=3", "--rdzv-conf=rank=2", "s.py")
    assert (request.config.node_rank, request.config.rdzv_configs) == (2, {"rank": 2})


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--standalone", "--nnodes=2"],
         "--standalone is for one node, and --nnodes=2 asks for more; leave one of them out"),
        (["--nnodes=2", "--rdzv-endpoint=h"], "--rdzv-endpoint='h': the port is missing; write HOST:PORT"),
        (["--nnodes=2", "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"],
         "localhost:0: port 0 is any free one, which the other nodes cannot know; write a port"),
        (["--nnodes=2", "--master-port=0"],
         "127.0.0.1:0: port 0 is any free one, which the other nodes cannot know; write a port"),
        (["--master-port=65536"],
         "--master-port=65536: ports are 1 to 65535, or 0 for any free one on a single node"),
        (["--master-addr=h:1"], "--master-addr=h:1: write the host alone, and the port as --master-port"),
        (["--nnodes=2", "--node-rank=2"], "--node-rank=2: the ranks of 2 nodes are 0 to 1"),
        (["--nnodes=2", "--node-rank=-1"], "--node-rank=-1: the ranks of 2 nodes are 0 to 1"),
        (["--rdzv-backend=c10d", "--node-rank=1"],
         "--node-rank=1: the only node has rank 0; write --nnodes for more nodes"),
        (["--nnodes=2", "--node-rank=0", "--rdzv-conf=rank=1"],
         "--node-rank=0 and rank=1 in --rdzv-conf differ; leave one of them out"),
        (["--nnodes=2", "--rdzv-conf=rank=one"], "--rdzv-conf: rank=one: write a whole number"),
        (["--nnodes=2", "--rdzv-id="],
         "--rdzv-id is empty: the nodes would not find each other; write the same name on every node"),
        (["--rdzv-backend="], "--rdzv-backend is empty; write e.g. c10d, or leave it out"),
        (["--rdzv-backend=c10d", "--rdzv-endpoint=tcp://h:1"],
         "--rdzv-endpoint='tcp://h:1': write HOST, HOST:PORT, or [IPv6 ADDRESS]:PORT"),
    ],
)  # fmt: skip
def test_options_that_contradict_each_other_are_refused(argv: Sequence[str], words: str) -> None:
    assert refused(*argv, "s.py") == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        (" a = 1 , b = x=y ", {"a": "1", "b": "x=y"}),
        ("a=1,", {"a": "1"}),
        (",", {}),
        ("'join_timeout=5,last_call_timeout=1,timeout=5'",
         {"join_timeout": "5", "last_call_timeout": "1", "timeout": "5"}),
        ('"a=1"', {"a": "1"}),
        ("a='1',b=\"2\"", {"a": "'1'", "b": '"2"'}),
        ("a=1,a=2", {"a": "2"}),
    ],
)  # fmt: skip
def test_the_rendezvous_settings_are_pairs(text: str, expected: dict[str, str]) -> None:
    assert resolved("--rdzv-backend=c10d", f"--rdzv-conf={text}", "s.py").config.rdzv_configs == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("=1", "--rdzv-conf: '=1' is no KEY=VALUE pair; write e.g. join_timeout=60,last_call_timeout=5"),
        ("a=1,,b=2", "--rdzv-conf: '' is no KEY=VALUE pair; write e.g. join_timeout=60,last_call_timeout=5"),
        ("a", "--rdzv-conf: 'a' has no value; write a=VALUE, or leave it out"),
        ("a=", "--rdzv-conf: 'a' has no value; write a=VALUE, or leave it out"),
    ],
)
def test_rendezvous_settings_that_are_no_pairs_are_refused(text: str, words: str) -> None:
    assert refused(f"--rdzv-conf={text}", "s.py") == words


# --- values ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--nnodes=3:2", "--nnodes='3:2': 3 is more than 2; write MIN:MAX, e.g. 2:3"),
        ("--nproc-per-node=0", "--nproc-per-node='0': at least one worker is needed; write 1 or more"),
        ("--nproc-per-node=xpu", "--nproc-per-node=xpu: there is none"),
        ("--max-restarts=-1", "--max-restarts=-1: write 0 or more"),
        ("--monitor-interval=0", "--monitor-interval=0.0: write seconds, more than 0"),
        ("--monitor-interval=nan", "--monitor-interval=nan: write seconds, more than 0"),
        ("--shutdown-timeout=-1", "--shutdown-timeout=-1.0: write seconds, 0 or more"),
        ("--exit-barrier-timeout=inf", "--exit-barrier-timeout=inf: write seconds, 0 or more"),
        ("--hang-pattern=[", "--hang-pattern='[' is no regular expression: unterminated character set at position 0"),
        ("--hang-timeout=-1", "--hang-timeout=-1.0: write seconds, 0 or more"),
        ("--report-lines=-1", "--report-lines=-1: write 0 or more"),
        ("--redirects=4",
         "--redirects: '4' names no streams: write one digit for all local ranks (0 none, 1 stdout, "
         "2 stderr, 3 both) or RANK:DIGIT pairs, e.g. 0:3,1:2"),
        ("--tee=1:3", "--tee: there is no local rank 1 on this node; its only worker has local rank 0"),
        ("--local-ranks-filter=x",
         "--local-ranks-filter: 'x' is no local rank; write numbers from 0, separated by commas"),
        ("--local-ranks-filter=-1",
         "--local-ranks-filter: there is no local rank -1 on this node; its only worker has local rank 0"),
        ("--duplicate-stdout-filters=",
         "--duplicate-stdout-filters: one of the texts is empty, and would match every line; leave it out "
         "(`,,` is a comma)"),
        ("--signals-to-handle=SIGKILL",
         "--signals-to-handle='SIGKILL': SIGKILL cannot be handled by any program; leave it out"),
        ("--signals-to-handle=sigtrem",
         "--signals-to-handle='sigtrem': there is no signal 'sigtrem'; did you mean SIGTERM?"),
        ("--signals-to-handle=", "--signals-to-handle is empty; write e.g. SIGTERM,SIGINT, or leave it out"),
        ("--forward-signals=USR1,KILL",
         "--forward-signals='USR1,KILL': SIGKILL cannot be handled by any program; leave it out"),
        ("--forward-signals=usr3",
         "--forward-signals='usr3': there is no signal 'usr3'; did you mean SIGUSR2?"),
        ("--forward-signals=HUP",
         "--forward-signals='HUP': SIGHUP is one of --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT, on which the "
         "job ends; name it in one of the two only"),
        ("--stdin=1", "--stdin: there is no local rank 1 on this node; its only worker has local rank 0"),
        ("--stdin=first", "--stdin='first': write the local rank that reads it, or all, or none"),
        ("--policy=a,,b", "--policy='a,,b': a name is missing; write NAME or NAME,NAME"),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused(flag: str, words: str) -> None:
    assert refused(flag, "s.py") == words


@pytest.mark.parametrize(
    "options, unseen",
    [
        ([], "stdout"),
        (["--tee=3"], ""),
        (["--redirects=1"], ""),
        (["--redirects=2"], "stdout"),
        (["--report-lines=0"], "stdout and stderr"),
        (["--nproc-per-node=2", "--tee=0:3"], "stdout"),
        (["--tee=3", "--log-dir=/dev/null"], "stdout"),
    ],
)
def test_a_pattern_that_output_is_not_searched_for_is_told(options: list[str], unseen: str) -> None:
    told = [one for one in resolved(*options, "--hang-pattern=WARN", "s.py").notices if "--hang-pattern" in one]
    words = f"--hang-pattern sees no {unseen} that goes straight to the console; --tee=3 shows and keeps it"
    assert told == ([words] if unseen else [])


def test_lines_that_show_progress_need_a_time() -> None:
    words = "--progress-pattern needs a --hang-timeout above 0: how long no such line may come"
    assert refused("--progress-pattern=step", "--hang-timeout=0", "s.py") == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PluginError("--rdzv-backend=x: no plugin"), "--rdzv-backend=x: no plugin (PET_RDZV_BACKEND sets it)"),
        (UsageError("--rdzv-backend=x: join_timeout='y'"), "--rdzv-backend=x: join_timeout='y'"),
        (UsageError("--rdzv-conf: x has no key"), "--rdzv-conf: x has no key (PET_RDZV_CONF sets it)"),
        (UsageError("--log-dir='y': it is full"), "--log-dir='y': it is full"),
    ],
)
def test_an_error_of_a_plugin_names_the_variable_that_set_what_it_is_about(error: UsageError, words: str) -> None:
    request = resolved("--log-dir=y", "--nnodes=2", "s.py", PET_RDZV_BACKEND="x", PET_RDZV_CONF="a=b")
    found = blamed(error, request.origin)
    assert (type(found), str(found)) == (type(error), words)


def test_an_error_about_a_variable_names_it() -> None:
    assert refused("s.py", PET_NNODES="2:3:4") == (
        "--nnodes='2:3:4' has 3 parts; write N or \"MIN:MAX\", e.g. 1:4 (PET_NNODES sets it)"
    )
    assert refused("s.py", PET_MASTER_PORT="70000").endswith("(PET_MASTER_PORT sets it)")
    with pytest.raises(NodesError):
        resolved("s.py", PET_NNODES="2:3:4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", Std.NONE), ("3", Std.ALL), ("0:1,1:2", {0: Std.OUT, 1: Std.ERR}), ("1:3,1:0", {1: Std.NONE})],
)
def test_streams_are_chosen_for_all_or_by_rank(text: str, expected: object) -> None:
    assert resolved("--nproc-per-node=2", f"--redirects={text}", "s.py").config.logs.redirects == expected


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, (30.0, 300.0)),
        (
            [],
            {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "5", "TORCH_ELASTIC_EXIT_BARRIER_TIMEOUT": "1.5"},
            (5.0, 1.5),
        ),
        ([], {"PET_SHUTDOWN_TIMEOUT": "7", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "x"}, (7.0, 300.0)),
        (["--shutdown-timeout=0"], {"PET_SHUTDOWN_TIMEOUT": "7"}, (0.0, 300.0)),
    ],
)
def test_a_timeout_is_the_flag_then_pet_then_torch_elastics_variable(
    argv: list[str], environ: dict[str, str], expected: tuple[float, float]
) -> None:
    config = resolved(*argv, "s.py", **environ).config
    assert (config.shutdown_timeout, config.exit_barrier_timeout) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT='': write a number of seconds"),
        ("-3", "--shutdown-timeout=-3.0: write seconds, 0 or more (TORCH_ELASTIC_SHUTDOWN_TIMEOUT sets it)"),
    ],
)
def test_a_bad_timeout_in_a_variable_is_refused(text: str, words: str) -> None:
    assert refused("s.py", TORCH_ELASTIC_SHUTDOWN_TIMEOUT=text) == words


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        ([], {}, None),
        ([], {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[${rank}]"}, "[${rank}]"),
        ([], {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": ""}, None),
        (["--log-line-prefix-template=x"], {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "y"}, "x"),
        (["--log-line-prefix-template="], {"TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "y"}, "y"),
        ([], {"PET_LOG_LINE_PREFIX_TEMPLATE": "p", "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "y"}, "p"),
    ],
)
def test_the_first_template_that_is_not_empty_counts(
    argv: list[str], environ: dict[str, str], expected: str | None
) -> None:
    assert resolved(*argv, "s.py", **environ).config.log_line_prefix_template == expected


@pytest.mark.parametrize(
    ("argv", "environ", "env", "notices"),
    [
        (["--nproc-per-node=2"], {}, {"OMP_NUM_THREADS": "1"},
         ("OMP_NUM_THREADS=1 for each of the 2 workers; set the variable to have more threads",)),
        (["--nproc-per-node=1"], {}, {}, ()),
        (["--nproc-per-node=2"], {"OMP_NUM_THREADS": "4"}, {}, ()),
        (["--nproc-per-node=2"], {"OMP_NUM_THREADS": ""}, {}, ()),
    ],
)  # fmt: skip
def test_several_workers_get_one_thread_each_unless_the_variable_is_set(
    argv: list[str], environ: dict[str, str], env: dict[str, str], notices: tuple[str, ...]
) -> None:
    request = resolved(*argv, "s.py", **environ)
    assert (request.config.worker_env, request.notices) == (env, notices)


def test_a_misspelled_variable_is_noticed_and_a_strange_one_is_not() -> None:
    assert resolved("s.py", PET_NPROC_PERNODE="2", PET_SHOP="x").notices == (
        "PET_NPROC_PERNODE is set and means nothing here; did you mean PET_NPROC_PER_NODE?",
    )


def test_words_for_a_number_of_workers_are_counted() -> None:
    assert [local_world_size(text, count) for text in ("3", "auto", "cpu", "gpu")] == [3, 8, 16, 8]


def test_times_beyond_reason_are_cut_to_what_the_system_takes() -> None:
    config = resolved("--exit-barrier-timeout=1e300", "--shutdown-timeout=1e300", "--monitor-i=1e300", "s.py").config
    assert (config.exit_barrier_timeout, config.shutdown_timeout, config.monitor_interval) == (1e9, 1e9, 1e9)


# --- the command -----------------------------------------------------------------------------------------

PYTHON = ("/usr/bin/python", "-u")


@pytest.mark.parametrize(
    ("argv", "environ", "expected"),
    [
        (["dir/s.py", "--x", "--"], {}, Command(argv=(*PYTHON, "dir/s.py", "--x", "--"), name="dir/s.py")),
        (["-m", "pkg.mod", "a"], {}, Command(argv=(*PYTHON, "-m", "pkg.mod", "a"), name="pkg.mod")),
        (["-"], {}, Command(argv=(*PYTHON, "-"), name="-")),
        (["--no-python", "prog", "$x", "$$", "${local_rank}"], {},
         Command(argv=("prog", "$x", "$$", "${local_rank}"), name="prog")),
        (["s.py"], {"PYTHON_EXEC": "python-x"}, Command(argv=("python-x", "-u", "s.py"), name="s.py")),
        (["--run-path", "s.py", "a"], {}, Command(function=run_script_path, args=("s.py", "a"), name="s.py")),
        (["--run-path", "--module", "--no-python", "s.py"], {},
         Command(function=run_script_path, args=("s.py",), name="s.py")),
        (["s.py"], {"PET_RUN_PATH": "1"}, Command(function=run_script_path, args=("s.py",), name="s.py")),
    ],
)  # fmt: skip
def test_the_command_is_what_the_options_make_of_the_script(
    argv: list[str], environ: dict[str, str], expected: Command
) -> None:
    assert resolved(*argv, **environ).command == expected


@pytest.mark.parametrize(
    ("argv", "environ", "words"),
    [
        (["--module", "--no-python", "prog"], {},
         "--module and --no-python exclude each other: only Python runs modules; leave one of them out"),
        (["prog"], {"PET_MODULE": "1", "PET_NO_PYTHON": "1"},
         "--module and --no-python exclude each other: only Python runs modules; leave one of them out"),
        (["gone.py"], {},
         "gone.py: no such file; write the script's path, -m for a module, or --no-python for a program"),
        (["--run-path", "gone.py"], {},
         "gone.py: no such file; write the script's path, -m for a module, or --no-python for a program"),
        (["--no-python", "gone"], {}, "gone: no such program on PATH; write its path, e.g. ./gone"),
        (["--no-python", "./gone"], {},
         "./gone: no such program, or not executable; check the path, or run chmod +x"),
        (["s.py"], {"PYTHON_EXEC": ""}, "PYTHON_EXEC is empty; unset it, or set it to an interpreter"),
        (["s.py"], {"PYTHON_EXEC": "py"},
         "PYTHON_EXEC=py: no such program, or not executable; unset it, or set it to an interpreter"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_before_anything_starts(
    argv: list[str], environ: dict[str, str], words: str
) -> None:
    assert refused(*argv, **environ) == words


# --- namespaces of other programs ------------------------------------------------------------------------


def test_a_namespace_of_the_argparse_parser_resolves_like_ours() -> None:
    argv = ["--nproc=2", "--nnodes=2", "--node-rank=1", "--tee=3", "dir/s.py", "--", "-x"]
    ours = resolved(*argv)
    theirs = resolve_args(get_args_parser({}).parse_args(argv), facts())
    assert (theirs.command, meeting(theirs), theirs.notices) == (ours.command, meeting(ours), ours.notices)
    assert theirs.origin["node_rank"] == Origin(1, "flag", "--node-rank")


def test_a_namespace_that_knows_only_some_options_gets_the_defaults_of_the_others() -> None:
    request = resolve_args(
        argparse.Namespace(nproc_per_node="4", training_script="s.py", training_script_args=[]), facts()
    )
    assert (request.config.nproc_per_node, request.config.role, meeting(request)) == (4, "default", PRIVATE)


def test_a_namespace_that_was_changed_counts_as_it_is() -> None:
    from launcher_core.cli.parse import read

    args = read(["--nproc=2", "s.py"], {})
    args.nproc_per_node, args.tee = "3", "1"
    request = resolve_args(args, facts())
    assert (request.config.nproc_per_node, request.origin["tee"]) == (3, Origin(Std.OUT, "flag", "--tee"))


# --- restarts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ((), Retry()),
        (("--restart-backoff=0.5",), Retry(backoff=0.5)),
        (("--restart-backoff=2:2",), Retry(2.0, 2.0)),
        (("--restart-window=5",), Retry(window=5.0)),
    ],
)
def test_restarts_may_be_put_off_and_forgiven(words: tuple[str, ...], meant: Retry) -> None:
    assert resolved(*words, "s.py").config.retry == meant


@pytest.mark.parametrize(
    "word",
    ["--restart-backoff=soon", "--restart-backoff=5:2", "--restart-backoff=-1", "--restart-backoff=1:inf",
     "--restart-backoff=1:", "--restart-window=0", "--restart-window=nan", "--restart-min-uptime=-1"],
)  # fmt: skip
def test_what_is_no_pause_and_no_window_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match=word.partition("=")[0]):
        resolved(word, "s.py")


# --- the port for probes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"), [("80", ("", 80)), (" 0 ", ("", 0)), ("h:8080", ("h", 8080)), ("", None), (" ", None)]
)
def test_a_probes_port_may_have_a_host(text: str, meant: tuple[str, int] | None) -> None:
    assert resolved(f"--health-port={text}", "s.py").config.health == meant


@pytest.mark.parametrize("text", ["70000", "host", "h:port", "-1"])
def test_what_is_no_port_for_probes_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--health-port"):
        resolved(f"--health-port={text}", "s.py")
