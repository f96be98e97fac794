"""Every option of the command line, as one table; all else about options is derived from it.

The scanner (`split`), the reader (`parse`), the argparse parser for wrappers (`parser`), `--help` (`usage`)
and the shell completions (`completion`) are views of OPTIONS. Names, defaults and PET_ variables are
torchrun's where torchrun has the option. Nothing here reads the environment, and nothing expensive is
imported: `--help` pays for this module.
"""

from typing import Any, Literal, NamedTuple

from launcher_core.cli import say
from launcher_core.errors import UsageError

Kind = Literal["text", "whole", "seconds", "list", "switch"]

RUN, SIZE, MEET = "What to run", "How many", "Where the nodes meet"
FAIL, OUTPUT, WORKERS = "Failures and stopping", "Output", "How workers are started"
PLUGINS, ASK = "Plugins", "Ask; nothing is started"
GROUPS = (RUN, SIZE, MEET, FAIL, OUTPUT, WORKERS, PLUGINS, ASK)

TRUE = ("true", "t", "yes", "y", "on")
FALSE = ("false", "f", "no", "n", "off")


class Option(NamedTuple):
    """One option. A switch takes no value; an option with `bare` takes one only when joined by `=`."""

    dest: str
    spellings: tuple[str, ...]
    """The long spelling with dashes first, then that with underscores, then the short one."""
    kind: Kind
    default: Any
    variable: str
    """The PET_ variable that sets it; empty when no variable does."""
    group: str
    metavar: str
    help: str
    choices: tuple[str, ...]
    bare: str | None
    """What it means to give the option without a value; None when a value must be given."""
    torchrun: bool
    """Whether torchrun has it: abbreviations that torchrun understands keep their meaning."""

    @property
    def flag(self) -> str:
        """The spelling that messages use."""
        return self.spellings[0]


def _option(
    name: str,
    group: str,
    help: str,
    *,
    kind: Kind = "text",
    metavar: str = "",
    default: Any = None,
    short: str = "",
    choices: tuple[str, ...] = (),
    bare: str | None = None,
    variable: bool = True,
    torchrun: bool = True,
) -> Option:
    """The option `--name` with its two long spellings and the names that follow from it."""
    dest = name.replace("-", "_")
    spellings = tuple(dict.fromkeys((f"--{name}", f"--{dest}", *([short] if short else []))))
    pet = f"PET_{dest.upper()}" if variable else ""
    metavar = metavar or ("{" + ",".join(choices) + "}" if choices else "")
    return Option(dest, spellings, kind, default, pet, group, metavar, help, choices, bare, torchrun)


def _switch(
    name: str, group: str, help: str, *, short: str = "", variable: bool = True, torchrun: bool = True
) -> Option:
    """An option that is there or not."""
    return _option(name, group, help, kind="switch", default=False, short=short, variable=variable, torchrun=torchrun)


OPTIONS: tuple[Option, ...] = (
    _switch("module", RUN, "The script is a module's name, run as `python -m` does.", short="-m"),
    _switch("no-python", RUN, "The script is a program of its own: run it without a Python interpreter."),
    _switch("run-path", RUN, "Run the script inside the worker's interpreter, by runpy."),
    # --- how many
    _option("nnodes", SIZE, "Nodes: one number, or the least and the most that the job runs with.",
            metavar="N|MIN:MAX", default="1:1"),
    _option("nproc-per-node", SIZE, "Workers on this node: a number, or what to count "
            "(auto: accelerators if any, else CPUs).", metavar="N|auto|cpu|gpu|xpu", default="1"),
    _switch("standalone", SIZE, "One node with a private place to meet: jobs never disturb each other."),
    _option("role", SIZE, "What the workers of this node are called, and ranked within.",
            metavar="NAME", default="default"),
    # --- where the nodes meet
    _option("rdzv-backend", MEET, "How the nodes find each other, e.g. c10d; see --list-plugins.",
            metavar="NAME", default="static"),
    _option("rdzv-endpoint", MEET, "Where they meet: the address of one node; static needs the port.",
            metavar="HOST[:PORT]", default=""),
    _option("rdzv-id", MEET, "The job's name: nodes that give the same one meet.",
            metavar="ID", default="none"),
    _option("rdzv-conf", MEET, "Settings of the backend, e.g. join_timeout=60,last_call_timeout=5.",
            metavar="KEY=VALUE,...", default=""),
    _option("node-rank", MEET, "This node's rank; static needs it on every node but the first.",
            kind="whole", metavar="N", default=0),
    _option("master-addr", MEET, "Static: the address of node 0.", metavar="HOST", default="127.0.0.1"),
    _option("master-port", MEET, "Static: a free port of node 0; 29500 where several nodes meet.",
            kind="whole", metavar="PORT"),
    _option("local-addr", MEET, "The address by which other nodes reach this one.", metavar="HOST"),
    # --- failures and stopping
    _option("max-restarts", FAIL, "How often the workers are started again before the job has failed.",
            kind="whole", metavar="N", default=0),
    _option("restart-backoff", FAIL, "The pause before the first restart, doubled for each further one, MAX at most.",
            metavar="SECONDS[:MAX]", default="0", torchrun=False),
    _option("restart-window", FAIL, "How long a restart counts towards --max-restarts; for ever unless given.",
            kind="seconds", metavar="SECONDS", torchrun=False),
    _option("restart-min-uptime", FAIL, "Workers that fail sooner after their start are not started again.",
            kind="seconds", metavar="SECONDS", default=0.0, torchrun=False),
    _switch("retry-same-failure", FAIL, "Start again, too, when the same exception ended two starts within 30 s.",
            torchrun=False),
    _option("monitor-interval", FAIL, "Seconds between two looks at what does not report by itself.",
            kind="seconds", metavar="SECONDS", default=0.1),
    _option("shutdown-timeout", FAIL, "Grace between asking workers to stop and killing them. [30]",
            kind="seconds", metavar="SECONDS"),
    _option("max-shutdown-timeout", FAIL, "How long a worker may take to end that asks for more. "
            "[10 times the grace]", kind="seconds", metavar="SECONDS", torchrun=False),
    _option("exit-barrier-timeout", FAIL, "How long a node that is done waits for the others. [300]",
            kind="seconds", metavar="SECONDS", torchrun=False),
    _option("signals-to-handle", FAIL, "The signals on which the workers are stopped and the launcher ends.",
            metavar="NAME,...", default="SIGTERM,SIGINT,SIGHUP,SIGQUIT"),
    _option("forward-signals", FAIL, "Signals that go on to this node's workers and end nothing, e.g. SIGUSR1.",
            metavar="NAME,...", default="", torchrun=False),
    _option("preempt-signal", FAIL, "Signals that say that the machine is wanted back: all nodes stop the job, "
            "with exit code 75.", metavar="NAME,...", default="", torchrun=False),
    _option("preempt-file", FAIL, "The same is said by this file, when it appears or is written again.",
            metavar="PATH", torchrun=False),
    _option("on-preempt", FAIL, "A shell command that is run on each node before a preempted job is stopped.",
            metavar="COMMAND", default="", torchrun=False),
    _option("hang-timeout", FAIL, "Seconds without any progress of the workers after which they hang; 0: never.",
            kind="seconds", metavar="SECONDS", default=300.0, torchrun=False),
    _option("hang-action", FAIL, "What to do about a hang, besides saying who hangs, and where.",
            choices=("report", "restart", "stop"), default="report", torchrun=False),
    _option("hang-pattern", FAIL, "A line of output with this regular expression says that its worker hangs.",
            metavar="REGEX", default="", torchrun=False),
    _option("progress-pattern", FAIL, "Lines that show progress: after the first, none for --hang-timeout is a hang.",
            metavar="REGEX", default="", torchrun=False),
    _option("exit-code", FAIL, "Exit with 1 when workers failed, or with the code of the first that did.",
            choices=("one", "worker"), default="one", torchrun=False),
    _option("report-lines", FAIL, "Last lines of a failed worker's stderr in the report; "
            "0 leaves stderr alone.", kind="whole", metavar="N", default=20, torchrun=False),
    _option("report", FAIL, "Write how the launch ended, and of what, to this file, as JSON.",
            metavar="FILE", torchrun=False),
    _option("health-port", FAIL, "Answer a scheduler's probe here, by HTTP: /livez, and /readyz while the workers run.",
            metavar="[HOST:]PORT", torchrun=False),
    # --- output
    _option("log-dir", OUTPUT, "Where files of output go; a temporary directory unless given.",
            metavar="DIR"),
    _option("redirects", OUTPUT, "Write streams to files: 0 none, 1 stdout, 2 stderr, 3 both; "
            "or by local rank, e.g. 0:3,1:2.", metavar="STREAMS", default="0", short="-r"),
    _option("tee", OUTPUT, "As --redirects, and show the lines on the console too.",
            metavar="STREAMS", default="0", short="-t"),
    _option("local-ranks-filter", OUTPUT, "Show only these workers on the console, e.g. 0,3.",
            metavar="RANK,...", default=""),
    _option("duplicate-stdout-filters", OUTPUT, "Copy lines of stdout that contain one of these to one file; "
            "`,,` is a comma.", kind="list", metavar="TEXT,...", default=[]),
    _option("duplicate-stderr-filters", OUTPUT, "The same for stderr.",
            kind="list", metavar="TEXT,...", default=[]),
    _option("log-line-prefix-template", OUTPUT, "What each line shown by --tee begins with; "
            "${role_name}, ${rank}, ${local_rank} and ${hostname} are filled in.",
            metavar="TEXT", default=""),
    _option("status-line", OUTPUT, "Show how the launch stands in the last row of the terminal, after two seconds.",
            choices=("auto", "off"), default="auto", torchrun=False),
    # --- how workers are started
    _option("start-method", WORKERS, "How --run-path starts its interpreters.",
            metavar="NAME", default="spawn"),
    _option("stdin", WORKERS, "The local rank that reads standard input; the others read nothing.",
            metavar="RANK|all|none", default="0", torchrun=False),
    _switch("virtual-local-rank", WORKERS, "Every worker sees one accelerator only, and LOCAL_RANK=0."),
    _option("numa-binding", WORKERS, "Bind each worker to the CPUs near its accelerator.",
            choices=("node", "socket", "exclusive", "core-complex")),
    # --- plugins
    _option("policy", PLUGINS, "Policies to use, in this order.",
            metavar="NAME,...", default="", torchrun=False),
    _option("event-log-handler", PLUGINS, "Recorders of the job's events; NAME=ARGUMENT passes an argument.",
            metavar="NAME,...", default="null"),
    _option("logs-specs", PLUGINS, "Who chooses the files of output. [default]", metavar="NAME"),
    # --- ask
    _option("dry-run", ASK, "Show what would be done, and where each setting comes from.",
            metavar="text|json", choices=("text", "json"), default="", bare="text",
            variable=False, torchrun=False),
    _option("status", ASK, "Show what your launchers on this machine are doing; --rdzv-id or a PID selects.",
            metavar="text|json|PID", default="", bare="text", variable=False, torchrun=False),
    _option("stacks", ASK, "Show where their workers are, by their stacks; selects as --status.",
            metavar="text|json|PID", default="", bare="text", variable=False, torchrun=False),
    _switch("list-plugins", ASK, "Show the plugins that are installed.", variable=False, torchrun=False),
    _option("print-completion", ASK, "Show a script that completes options in this shell.",
            choices=("bash", "zsh", "tcsh"), variable=False),
    _switch("version", ASK, "Show the version.", variable=False, torchrun=False),
    _switch("help", ASK, "Show this.", short="-h", variable=False),
)  # fmt: skip


def by_dest() -> dict[str, Option]:
    """The table, keyed by dest."""
    return {option.dest: option for option in OPTIONS}


def truth(text: str, said: str) -> bool:
    """What the text of a switch's variable means: a whole number (0 is no) or a word for yes or no."""
    word = text.strip().lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    try:
        return bool(int(word))
    except ValueError:
        raise UsageError(say.neither_yes_nor_no(said)) from None


def comma_list(text: str) -> list[str]:
    """The items of a comma-separated list, untrimmed; `,,` stands for a comma, taken from the left."""
    return [item.replace("\0", ",") for item in text.replace(",,", "\0").split(",")]


def convert(option: Option, text: str, said: str) -> Any:
    """The value that the text stands for; `said` is how the user wrote it, for the error.

    Raises UsageError when the text is no such value.
    """
    if option.kind == "switch":
        return truth(text, said)
    if option.choices and text not in option.choices:
        raise UsageError(say.not_a_choice(said, option.choices))
    if option.kind == "list":
        return comma_list(text)
    if option.kind in ("whole", "seconds"):
        return _number(option.kind, text, said)
    return text


def _number(kind: Kind, text: str, said: str) -> int | float:
    try:
        return int(text) if kind == "whole" else float(text)
    except ValueError:
        raise UsageError(say.not_a_number(said, kind)) from None
