"""Requests that cannot be carried out: one clear paragraph, exit code 2, and nothing was started or created."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from in_process import Distributions, InProcess
from launches import Launcher

from launcher_core.errors import NodesError, PluginError, UsageError

LONGEST = 600
"""Characters of an error: what fits into a few lines of a terminal."""
GUIDE = "usage: launcher [options] script [the script's own arguments]\n`launcher --help` lists the options.\n"
"""What comes before an error about words that cannot be read."""


class Case(NamedTuple):
    """A wrong request. `{here}` is a folder of the test's, with a script `ok.py` and a text file `text`."""

    name: str
    args: tuple[str, ...]
    says: tuple[str, ...]
    """What the error contains: the value that is wrong, and what to do about it."""
    env: dict[str, str] = {}  # noqa: RUF012 - never changed
    kind: type[BaseException] = UsageError
    """What main() raises; SystemExit where the words cannot be read at all."""


def plugin(flag: str, name: str, group: str, *says: str, more: tuple[str, ...] = ()) -> Case:
    """A plugin that is not installed."""
    words = (f"{flag}={name}: no plugin of that name is installed ({group}); ", *says)
    return Case(f"unknown {group}", (f"{flag}={name}", *more, "ok.py"), words, kind=PluginError)


def value(option: str, *says: str) -> Case:
    """One wrong option before a right script."""
    return Case(option, (option, "ok.py"), says)


def words(*args: str, says: tuple[str, ...]) -> Case:
    """Words that cannot be read."""
    return Case(" ".join(args) or "nothing", args, says, kind=SystemExit)


C10D = "--rdzv-backend=c10d"
STATIC = "--rdzv-backend=static"
CASES = [
    # plugins
    plugin("--rdzv-backend", "c10b", "launcher.rendezvous", "did you mean c10d?", "static (launcher-core "),
    plugin("--logs-specs", "DOESNOT_EXIST", "launcher.logs_specs", "installed: default (launcher-core "),
    plugin("--start-method", "spwan", "launcher.start_methods", "did you mean spawn?"),
    plugin("--event-log-handler", "jsonll", "launcher.event_recorders", "did you mean jsonl?"),
    plugin("--policy", "hnag", "launcher.policies", "did you mean hang?"),
    Case(
        "unknown store",
        ("--rdzv-conf=store=c10x", "ok.py"),
        ("--rdzv-conf store=c10x: no plugin of that name", "did you mean c10d?"),
        kind=PluginError,
    ),
    Case(
        "exec for a function",
        ("--run-path", "--start-method=exec", "ok.py"),
        ("--start-method=exec", "does not start Python functions"),
    ),
    value("--event-log-handler=jsonl={here}/text/events", "{here}/text", "name another one with"),
    value("--event-log-handler=null=x", "null='x'", "write null"),
    # what to run
    Case("no such script", ("missing.py",), ("missing.py: no such file", "-m for a module, or --no-python")),
    Case("no such script to run inside", ("--run-path", "missing.py"), ("missing.py: no such file",)),
    Case("not executable", ("--no-python", "{here}/text"), ("{here}/text: ", "not executable", "chmod +x")),
    Case("not there", ("--no-python", "./missing.sh"), ("./missing.sh: no such program", "check the path")),
    Case("not on PATH", ("--no-python", "no-such-program"), ("no-such-program", "on PATH", "./no-such-program")),
    Case(
        "a module without Python",
        ("--no-python", "--module", "ok"),
        ("--module and --no-python exclude each other", "leave one of them out"),
    ),
    Case("no name", ("",), ("the script's name is empty", "a shell variable that is not set")),
    Case("no module's name", ("-m", ""), ("the script's name is empty",)),
    Case("no program's name", ("--no-python", "", "x"), ("the script's name is empty",)),
    Case("a name of two lines", ("two\nlines.py",), (r"'two\nlines.py': no such file",)),
    Case("a directory for a program", ("--no-python", "."), (".: no such program, or not executable",)),
    Case("PYTHON_EXEC empty", ("ok.py",), ("PYTHON_EXEC is empty; unset it",), {"PYTHON_EXEC": ""}),
    Case("PYTHON_EXEC wrong", ("ok.py",), ("PYTHON_EXEC=/no/python", "unset it"), {"PYTHON_EXEC": "/no/python"}),
    # how many
    value("--nnodes=0", "--nnodes='0'", "at least one node"),
    value("--nnodes=3:2", "--nnodes='3:2'", "3 is more than 2", "e.g. 2:3"),
    value("--nnodes=a:b", "--nnodes='a:b'", "write whole numbers"),
    value("--nnodes=", "--nnodes=''", "write whole numbers"),
    value("--nnodes=1:2:3", "--nnodes='1:2:3' has 3 parts", 'write N or "MIN:MAX"')._replace(kind=NodesError),
    value("--nproc-per-node=0", "--nproc-per-node='0'", "write 1 or more"),
    value("--nproc-per-node=-2", "--nproc-per-node='-2'", "write 1 or more"),
    value("--nproc-per-node=unknown", "--nproc-per-node='unknown'", "auto, cpu, gpu, xpu"),
    value("--nproc-per-node=1.5", "--nproc-per-node='1.5'", "write a number"),
    Case("two nodes alone", ("--standalone", "--nnodes=2", "ok.py"), ("--standalone", "--nnodes=2", "leave one")),
    # where to meet
    Case(
        "static without a port",
        (STATIC, "--rdzv-endpoint=localhost", "ok.py"),
        ("--rdzv-endpoint='localhost'", "the port is missing; write HOST:PORT"),
    ),
    Case(
        "a port that is none",
        (C10D, "--rdzv-endpoint=localhost:http", "ok.py"),
        ("'localhost:http'", "write a number up to 65535"),
    ),
    Case("a port too large", ("--master-port=70000", "ok.py"), ("--master-port=70000", "1 to 65535")),
    Case("a URL", (C10D, "--rdzv-endpoint=tcp://host:1", "ok.py"), ("'tcp://host:1'", "write HOST, HOST:PORT")),
    Case("a host in no shape", ("--master-addr=", "ok.py"), ("--master-addr=''", "without a port")),
    Case("an address with a port", ("--local-addr=h:1", "ok.py"), ("--local-addr='h:1'", "without a port")),
    Case("an address in no shape", ("--local-addr=a b", "ok.py"), ("--local-addr='a b'", "a host's name")),
    Case(
        "an unknown host, c10d",
        (C10D, "--rdzv-endpoint=host.invalid:29400", "ok.py"),
        ("'host.invalid'", "correct --rdzv-endpoint"),
    ),
    Case(
        "an unknown host, static",
        ("--master-addr=host.invalid", "--master-port=29500", "ok.py"),
        ("'host.invalid'", "correct --master-addr"),
    ),
    Case(
        "an unknown host, two nodes",
        (C10D, "--nnodes=2", "--rdzv-endpoint=host.invalid:29400", "--rdzv-conf=join_timeout=0.5", "ok.py"),
        ("host.invalid:29400", "correct --rdzv-endpoint"),
    ),
    Case(
        "an unknown key",
        (C10D, "--rdzv-conf=join_timout=5", "ok.py"),
        ("c10d has no key 'join_timout'", "did you mean join_timeout?"),
    ),
    Case(
        "a key without a value",
        (C10D, "--rdzv-conf=join_timeout", "ok.py"),
        ("'join_timeout' has no value", "write join_timeout=VALUE"),
    ),
    Case("no key", (C10D, "--rdzv-conf==5", "ok.py"), ("'=5' is no KEY=VALUE pair", "write e.g.")),
    Case(
        "seconds that are none",
        (C10D, "--rdzv-conf=join_timeout=soon", "ok.py"),
        ("--rdzv-conf join_timeout='soon': write a number of seconds above 0",),
    ),
    Case(
        "neither yes nor no",
        (C10D, "--rdzv-conf=is_host=perhaps", "ok.py"),
        ("--rdzv-conf is_host='perhaps': write one of 1, true,",),
    ),
    Case(
        "a token in no file",
        (C10D, "--rdzv-conf=token_file=/no/such", "ok.py"),
        ("--rdzv-conf token_file=/no/such: No such file",),
    ),
    *(
        Case(
            f"a timeout of {text} to meet, static",
            ("--master-port=29500", f"--rdzv-conf=timeout={text}", "ok.py"),
            (f"--rdzv-conf timeout='{text}': write a number of seconds above 0",),
        )
        for text in ("soon", "-5", "nan")
    ),
    Case("a rank outside", (STATIC, "--nnodes=2", "--node-rank=2", "ok.py"), ("--node-rank=2", "0 to 1")),
    # failures and stopping
    value("--max-restarts=-1", "--max-restarts=-1", "write 0 or more"),
    value("--monitor-interval=0", "--monitor-interval=0", "more than 0"),
    value("--shutdown-timeout=-1", "--shutdown-timeout=-1", "0 or more"),
    value("--signals-to-handle=SIGTRM", "'SIGTRM'", "did you mean SIGTERM?"),
    value("--signals-to-handle=SIGTERM,SIGKILL", "SIGKILL cannot be handled", "leave it out"),
    value("--signals-to-handle=15", "'15'", "did you mean SIGTERM?"),
    value("--signals-to-handle=TERM,CHLD", "SIGCHLD comes whenever a process ends", "leave it out"),
    value("--signals-to-handle=,", "--signals-to-handle is empty", "write e.g. SIGTERM"),
    value("--preempt-signal=USR1,KILL", "SIGKILL cannot be handled", "leave it out"),
    value("--preempt-signal=term", "SIGTERM is one of --signals-to-handle", "name it in one of the two only"),
    value("--preempt-file=/nowhere/notice", "no file can appear there", "in a directory that exists"),
    value("--forward-signals=USR1,STOP", "SIGSTOP cannot be handled", "leave it out"),
    value("--forward-signals=CHLD", "--forward-signals='CHLD'", "SIGCHLD comes whenever a process ends"),
    value("--forward-signals=SIGUSR", "there is no signal 'SIGUSR'", "did you mean SIGUSR"),
    value("--forward-signals=usr1,term", "SIGTERM is one of --signals-to-handle", "name it in one of the two only"),
    # output
    value("--redirects=4", "--redirects: '4'", "0 none, 1 stdout, 2 stderr, 3 both"),
    value("--redirects=0:3,", "--redirects: '0:3,'", "e.g. 0:3,1:2"),
    value("--redirects=1:3", "--redirects", "no local rank 1", "its only worker has local rank 0"),
    value("--tee=0:9", "--tee: '0:9'", "RANK:DIGIT"),
    value("--tee=out", "--tee: 'out'", "write one digit"),
    value("--local-ranks-filter=a", "--local-ranks-filter: 'a'", "write numbers"),
    value("--local-ranks-filter=7", "no local rank 7", "local rank 0"),
    value("--duplicate-stdout-filters=", "--duplicate-stdout-filters", "leave it out"),
    value("--log-dir={here}/text/logs", "--log-dir='{here}/text/logs'", "is not a directory; name a directory"),
    value("--log-dir={here}/text", "--log-dir='{here}/text'", "it is not a directory; name a directory"),
    value("--log-dir=/proc/x", "--log-dir='/proc/x'", "name a directory"),
    # workers
    value("--stdin=first", "--stdin='first'", "write the local rank"),
    value("--stdin=3", "--stdin", "no local rank 3"),
    # variables
    Case("PET, a number", ("ok.py",), ("PET_MAX_RESTARTS='x'", "write a whole number"), {"PET_MAX_RESTARTS": "x"}),
    Case("PET, a switch", ("ok.py",), ("PET_MODULE='maybe'", "write 1 or true"), {"PET_MODULE": "maybe"}),
    Case("PET, a value", ("ok.py",), ("'3:2'", "PET_NNODES sets it"), {"PET_NNODES": "3:2"}),
    Case("PET, a choice", ("ok.py",), ("PET_NUMA_BINDING='x'", "write one of node,"), {"PET_NUMA_BINDING": "x"}),
    Case("PET, a plugin", ("ok.py",), ("=x: no plugin", "(PET_LOGS_SPECS sets it)"), {"PET_LOGS_SPECS": "x"}),
    Case("PET, a directory", ("ok.py",), ("'/proc/x'", "(PET_LOG_DIR sets it)"), {"PET_LOG_DIR": "/proc/x"}),
    Case("PET, a key", (C10D, "ok.py"), ("no key 'x'", "(PET_RDZV_CONF sets it)"), {"PET_RDZV_CONF": "x=1"}),
    Case("grace", ("ok.py",), ("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "'x'"), {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "x"}),
    # words
    words(says=("there is no script to run", "write it after the options")),
    words("--nproc-per-node=2", says=("there is no script to run",)),
    words("--nprocs-per-node=2", "ok.py", says=("--nprocs-per-node", "did you mean --nproc-per-node?")),
    words("--epochs=3", "ok.py", says=("--epochs: no such option", "after the script")),
    words("-x", "ok.py", says=("-x: no such option", "--help lists the options")),
    words("--no", "ok.py", says=("--no could be --no-python, --node-rank", "write more of it")),
    words("--standalone=1", "ok.py", says=("--standalone=1", "takes no value")),
    words("--nnodes", says=("--nnodes needs a value", "write --nnodes=VALUE")),
    words("--two\nlines", "ok.py", says=(r"'--two\nlines': no such option",)),
    words("--max-restarts=x\ny", "ok.py", says=(r"'--max-restarts=x\ny': write a whole number",)),
    words("--max-restarts=x", "ok.py", says=("--max-restarts=x", "write a whole number")),
    words("--exit-code=two", "ok.py", says=("--exit-code=two", "write one of one, worker")),
]
BY_NAME = [pytest.param(case, id=case.name.replace("{here}/", "")) for case in CASES]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a script that would leave a file, were it started, and a text that nothing can run."""
    (tmp_path / "ok.py").write_text(f"open({str(tmp_path / 'started')!r}, 'w')\n")
    (tmp_path / "text").write_text("text\n")
    return tmp_path


def files(folder: Path) -> set[str]:
    """Everything in the folder and below, but what the fixture keeps there about launches, and Python's caches."""
    ignored = re.compile(r"launch\d+\.(out|err)|__pycache__|.*\.pyc")
    return {str(path) for path in folder.rglob("*") if not ignored.fullmatch(path.name)}


def refused(launcher: Launcher, here: Path, args: tuple[str, ...], env: dict[str, str] | None = None) -> str:
    """The error of a launch from the shell, which is a paragraph, was refused, and did nothing."""
    before = files(here)
    code, out, err = launcher.run(*args, env=env)
    assert (code, out) == (2, ""), err
    assert files(here) == before
    text = err.removeprefix(GUIDE)
    assert text.startswith("launcher: error: ")
    assert text.count("\n") == 1, "one paragraph"
    assert len(text) < LONGEST
    return str(text)


@pytest.mark.parametrize("case", BY_NAME)
def test_the_shell_is_told_what_is_wrong_and_what_to_do(launcher: Launcher, here: Path, case: Case) -> None:
    args = tuple(arg.format(here=here) for arg in case.args)
    text = refused(launcher, here, args, case.env)
    for says in case.says:
        assert says.format(here=here) in text


@pytest.mark.parametrize("case", BY_NAME)
def test_main_raises_what_the_shell_is_told(
    in_process: InProcess, here: Path, case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in case.env.items():
        monkeypatch.setenv(name, text)
    before = files(here)
    with pytest.raises(case.kind) as caught:
        in_process.main(*(arg.format(here=here) for arg in case.args))
    out, err = capsys.readouterr()
    assert (files(here), out) == (before, "")
    if isinstance(caught.value, SystemExit):
        assert caught.value.code == 2
    else:
        assert isinstance(caught.value, ValueError)
        assert err == ""
    for says in case.says:
        assert says.format(here=here) in (err or str(caught.value))


# --- plugins that are there, and do not work --------------------------------------------------------------

BROKEN = {
    "raises": (
        "[launcher.logs_specs]\nbroken = broken_plugin\n",
        "1 / 0\n",
        "failed to import",
        "broken_plugin.py",
        "ZeroDivisionError: division by zero",
    ),
    "exits": (
        "[launcher.logs_specs]\nbroken = broken_plugin\n",
        "raise SystemExit(3)\n",
        "failed to import",
        "broken_plugin.py",
        "SystemExit: 3",
    ),
    "lacks a dependency": (
        "[launcher.logs_specs]\nbroken = broken_plugin\n",
        "import no_such_package.part\n",
        "needs no_such_package",
        "pip install no_such_package",
    ),
    "is not there": (
        "[launcher.logs_specs]\nbroken = other_module\n",
        "",
        "its module other_module does not exist",
        "cannot be imported",
    ),
    "lacks the hook": (
        "[launcher.logs_specs]\nbroken = broken_plugin\n",
        "",
        "does not implement launcher_make_logs_specs(config: ",
        "it implements no hook at all",
    ),
    "misspells an argument": (
        "[launcher.logs_specs]\nbroken = broken_plugin\n",
        "from launcher_core import hookimpl\n@hookimpl\ndef launcher_make_logs_specs(confg):\n    pass\n",
        "confg",
        "launcher_make_logs_specs(config: ",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_plugin_is_named_with_its_distribution(
    launcher: Launcher, in_process: InProcess, distributions: Distributions, here: Path, how: str
) -> None:
    entry_points, source, *says = BROKEN[how]
    distributions.install("broken-logs", entry_points, broken_plugin=source)
    text = refused(launcher, here, ("--logs-specs=broken", "ok.py"))
    for part in ("--logs-specs=broken: the plugin of broken-logs 1.0", *says):
        assert part in text
    with pytest.raises(PluginError) as caught:
        in_process.main("--logs-specs=broken", "ok.py")
    assert text == f"launcher: error: {caught.value}\n"


def test_two_distributions_with_one_name_are_both_named(
    launcher: Launcher, distributions: Distributions, here: Path
) -> None:
    for name in ("first", "second"):
        distributions.install(f"{name}-logs", f"[launcher.logs_specs]\nmine = {name}_logs\n", **{f"{name}_logs": ""})
    text = refused(launcher, here, ("--logs-specs=mine", "ok.py"))
    for part in ("--logs-specs=mine", "first-logs 1.0", "second-logs 1.0", "uninstall "):
        assert part in text


# --- ports ------------------------------------------------------------------------------------------------


@pytest.fixture
def held() -> Any:
    """A port that this process listens on, and never answers at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    "options",
    [
        ("--master-addr=127.0.0.1", "--master-port={port}"),
        ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-conf=join_timeout=1"),
        ("--rdzv-backend=c10d", "--rdzv-endpoint=localhost:{port}", "--rdzv-conf=is_host=yes"),
    ],
    ids=["static", "c10d", "c10d that must host"],
)
def test_a_port_in_use_is_named_with_its_holder(
    launcher: Launcher, in_process: InProcess, here: Path, held: int, options: tuple[str, ...]
) -> None:
    args = (*(option.format(port=held) for option in options), "ok.py")
    text = refused(launcher, here, args)
    for part in (f"port {held} is in use by pid {os.getpid()} (", "choose another port"):
        assert part in text
    with pytest.raises(ValueError, match=f"port {held} is in use by pid {os.getpid()} "):
        in_process.main(*args)


def test_whoever_holds_the_port_and_is_silent_is_not_waited_for_long(launcher: Launcher, here: Path, held: int) -> None:
    text = refused(launcher, here, ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{held}", "ok.py"))
    assert f"port {held} is in use by pid {os.getpid()} (" in text


def test_a_port_held_by_another_program_that_answers_is_in_use(launcher: Launcher, here: Path) -> None:
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "while True:\n    c, _ = s.accept(); c.recv(100); c.sendall(b'HTTP/1.0 400 Bad Request\\r\\n\\r\\n')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            text = refused(launcher, here, ("--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "ok.py"))
        finally:
            server.kill()
    assert f"port {port} is in use by pid {server.pid} ({sys.executable} -c import socket; s = " in text


# --- what only the start shows -----------------------------------------------------------------------------


def test_a_program_that_the_kernel_cannot_run_is_explained(
    launcher: Launcher, in_process: InProcess, here: Path
) -> None:
    script = here / "no-shebang"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    result = launcher.run("--no-python", script)
    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"launcher: error: cannot start {script}: it is neither a binary for this machine nor a script with a #! line\n"
    )


def test_more_workers_than_devices_are_refused_before_any_starts(launcher: Launcher, here: Path) -> None:
    before = files(here)
    env = {"CUDA_VISIBLE_DEVICES": "0,1", "OMP_NUM_THREADS": "1"}
    result = launcher.run("--virtual-local-rank", "--nproc-per-node=3", "ok.py", env=env)
    assert result == (
        2,
        "",
        "launcher: error: --virtual-local-rank: CUDA_VISIBLE_DEVICES='0,1' lists 2 device(s), none for local rank 2; "
        "lower --nproc-per-node or list more devices\n",
    )
    assert files(here) == before


MANY = "9" * 5000
"""More digits than Python reads."""


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((C10D, f"--rdzv-endpoint=host:{MANY}"), "is no port; write a number up to 65535"),
        ((C10D, f"--rdzv-endpoint=::1.2.3.{MANY}"), "write HOST, HOST:PORT"),
        ((f"--stdin={MANY}",), "write the local rank that reads it"),
        ((f"--tee={MANY}:3",), "names no streams: write one digit"),
        ((f"--max-restarts={MANY}",), "write a whole number"),
    ],
    ids=["port", "address", "stdin", "tee", "restarts"],
)
def test_a_number_of_thousands_of_digits_is_refused_like_any_other(
    launcher: Launcher, here: Path, options: tuple[str, ...], says: str
) -> None:
    result = launcher.run(*options, "ok.py")
    assert (result.code, result.out) == (2, "")
    assert says in result.err
    assert "Traceback" not in result.err
