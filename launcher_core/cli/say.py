"""Every sentence of the command line that a person reads and no rule or plugin says.

Errors say what is wrong, with which value, and what to do; notices say what was decided and how to have it
otherwise. Functions return text and print nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

PROGRAM = "launcher"

USAGE = f"usage: {PROGRAM} [options] script [the script's own arguments]"
MORE = f"`{PROGRAM} --help` lists the options."
HEADER = "Starts the workers of a distributed program on this node, and starts them again when one fails."

EXAMPLES = (
    ("four workers on this machine", f"{PROGRAM} --nproc-per-node=4 train.py --epochs=3"),
    ("one worker per accelerator", f"{PROGRAM} --nproc-per-node=auto train.py"),
    (
        "two nodes, the same command on both",
        f"{PROGRAM} --nnodes=2 --rdzv-backend=c10d --rdzv-endpoint=host1:29400 --rdzv-id=job7 train.py",
    ),
    (
        "one to four nodes that may come and go",
        f"{PROGRAM} --nnodes=1:4 --max-restarts=3 --rdzv-backend=c10d --rdzv-endpoint=host1:29400 train.py",
    ),
    ("what would happen, and why", f"{PROGRAM} --dry-run --nproc-per-node=4 train.py"),
)

NOTES = (
    "Options come before the script; every word after it is the script's, untouched. An underscore may stand",
    "for a dash, and the beginning of an option for all of it. A variable PET_NAME sets the option --name;",
    "the command line wins. In a script's arguments ${local_rank} becomes the worker's local rank.",
)


def usage_error(error: Exception) -> str:
    """The text for a request that cannot be carried out."""
    return f"{PROGRAM}: error: {error}"


def wrong_words(error: Exception) -> str:
    """The text for a command line that cannot be read."""
    return f"{USAGE}\n{MORE}\n{usage_error(error)}"


def version(number: str) -> str:
    """The line of --version."""
    return f"{PROGRAM} {number}"


# --- words of the command line ---------------------------------------------------------------------------


def no_such_option(word: str, known: Sequence[str]) -> str:
    """For a word before the script that is no option."""
    near = _meant(word.partition("=")[0], known)
    hint = f"did you mean {near}?" if near else "--help lists the options."
    return f"{shown(word)}: no such option; {hint} The script's own options come after the script."


def ambiguous(word: str, flags: Sequence[str]) -> str:
    """For an abbreviation that several options begin with."""
    return f"{word} could be {', '.join(flags)}; write more of it"


def value_missing(word: str, flag: str, follower: str | None) -> str:
    """For an option without its value."""
    if follower is None:
        return f"{word} needs a value; write {flag}=VALUE"
    return f"{word} needs a value, and {follower!r} is none; write {flag}=VALUE"


def value_not_wanted(word: str, flag: str) -> str:
    """For a switch with a value."""
    return f"{shown(word)}: {flag} takes no value; write {flag}, or leave it out"


def script_missing() -> str:
    """For a command line without a script."""
    return "there is no script to run; write it after the options"


def neither_yes_nor_no(said: str) -> str:
    """For the variable of a switch that is neither."""
    return f"{said}: write 1 or true for yes, 0 or false for no"


def not_a_choice(said: str, choices: Sequence[str]) -> str:
    """For a value that is not among the choices."""
    return f"{shown(said)}: write one of {', '.join(choices)}"


def not_a_number(said: str, kind: str) -> str:
    """For text where a number is wanted."""
    return f"{shown(said)}: write a {'whole number' if kind == 'whole' else 'number of seconds'}"


# --- values ----------------------------------------------------------------------------------------------


def set_by(error: Exception | str, variable: str) -> str:
    """An error about a value, and the variable that it came from."""
    return f"{error} ({variable} sets it)"


def too_small(flag: str, value: float, least: str) -> str:
    """For a number below what makes sense."""
    return f"{flag}={value}: write {least}"


def bad_backoff(text: str) -> str:
    """For pauses between restarts that are none."""
    return f"--restart-backoff={text!r}: write seconds, or SECONDS:MAX, e.g. 2:60"


def less_than_the_grace(most: float, grace: float) -> str:
    """For a bound of the grace that is less than the grace."""
    return f"--max-shutdown-timeout={most:g}: less than --shutdown-timeout={grace:g}; write as much or more"


def bad_pair(item: str) -> str:
    """For an item of --rdzv-conf that is no pair."""
    return f"--rdzv-conf: {item!r} is no KEY=VALUE pair; write e.g. join_timeout=60,last_call_timeout=5"


def no_value(key: str) -> str:
    """For a key of --rdzv-conf without a value."""
    return f"--rdzv-conf: {key!r} has no value; write {key}=VALUE, or leave it out"


def not_a_rank(flag: str, item: str) -> str:
    """For something else where a local rank is wanted."""
    return f"{flag}: {item!r} is no local rank; write numbers from 0, separated by commas"


def no_such_rank(flag: str, rank: int, count: int) -> str:
    """For a local rank that no worker will have."""
    several = f"its workers have local ranks 0 to {count - 1}"
    have = "its only worker has local rank 0" if count == 1 else several
    return f"{flag}: there is no local rank {rank} on this node; {have}"


def empty_filter(flag: str) -> str:
    """For a filter that every line would pass."""
    return f"{flag}: one of the texts is empty, and would match every line; leave it out (`,,` is a comma)"


def empty_name(flag: str, text: str) -> str:
    """For a list of names with a gap."""
    return f"{flag}={text!r}: a name is missing; write NAME or NAME,NAME"


def bad_stdin(text: str) -> str:
    """For an unknown reader of standard input."""
    return f"--stdin={text!r}: write the local rank that reads it, or all, or none"


def no_signals() -> str:
    """For an empty list of signals."""
    return "--signals-to-handle is empty; write e.g. SIGTERM,SIGINT, or leave it out"


# --- the script ------------------------------------------------------------------------------------------


def module_without_python() -> str:
    """For --module together with --no-python."""
    return "--module and --no-python exclude each other: only Python runs modules; leave one of them out"


def script_is_empty() -> str:
    """For a script without a name."""
    return "the script's name is empty; write it, and look for a shell variable that is not set"


def no_such_script(script: str) -> str:
    """For a script that is not there."""
    return f"{shown(script)}: no such file; write the script's path, -m for a module, or --no-python for a program"


def no_such_program(program: str) -> str:
    """For a program that cannot be run."""
    if "/" in program or program in (".", ".."):
        return f"{shown(program)}: no such program, or not executable; check the path, or run chmod +x"
    return f"{shown(program)}: no such program on PATH; write its path, e.g. {shown(f'./{program}')}"


def python_exec_unusable(text: str) -> str:
    """For an interpreter that cannot be run."""
    if not text:
        return "PYTHON_EXEC is empty; unset it, or set it to an interpreter"
    return f"PYTHON_EXEC={text}: no such program, or not executable; unset it, or set it to an interpreter"


# --- meeting ---------------------------------------------------------------------------------------------


def standalone_is_one_node(nnodes: str, standalone: str) -> str:
    """For --standalone with more nodes than one."""
    return f"{standalone} is for one node, and {nnodes} asks for more; leave one of them out"


def backend_is_empty() -> str:
    """For an empty name of a backend."""
    return "--rdzv-backend is empty; write e.g. c10d, or leave it out"


def run_id_is_empty() -> str:
    """For several nodes without a common name."""
    return "--rdzv-id is empty: the nodes would not find each other; write the same name on every node"


def port_nobody_knows(endpoint: str) -> str:
    """For several nodes that would meet at a port chosen at random."""
    return f"{endpoint}: port 0 is any free one, which the other nodes cannot know; write a port"


def bad_port(port: int) -> str:
    """For a --master-port that is none."""
    return f"--master-port={port}: ports are 1 to 65535, or 0 for any free one on a single node"


def no_host(flag: str, text: str) -> str:
    """For text that is no host, where a host alone is wanted."""
    return f"{flag}={text!r}: write a host's name or its address, without a port"


def address_with_port(text: str) -> str:
    """For a --master-addr that is an endpoint."""
    return f"--master-addr={text}: write the host alone, and the port as --master-port"


def rank_outside(rank: int, most: int) -> str:
    """For a node rank that no node can have."""
    if most > 1:
        return f"--node-rank={rank}: the ranks of {most} nodes are 0 to {most - 1}"
    return f"--node-rank={rank}: the only node has rank 0; write --nnodes for more nodes"


def two_ranks(flag: int, conf: int) -> str:
    """For node ranks that differ."""
    return f"--node-rank={flag} and rank={conf} in --rdzv-conf differ; leave one of them out"


# --- notices ---------------------------------------------------------------------------------------------


def overridden(flags: Sequence[str], by: str) -> str:
    """A notice: options that were given and have no effect."""
    verb = "has" if len(flags) == 1 else "have"
    return f"{', '.join(flags)} {verb} no effect: {by}"


def one_node_meets_privately(backend: str) -> str:
    """A notice: a backend that was asked for is replaced."""
    return f"{backend} for one node without a port: meeting over c10d at a free port instead"


def address_kept(addr: str) -> str:
    """A notice: an address was given without a port."""
    return f"--master-addr={addr} without --master-port: meeting there, at a free port"


def static_waits_for_all(low: int, high: int) -> str:
    """A notice: static knows no minimum."""
    return f"static waits for all {high} nodes: the minimum of --nnodes={low}:{high} is not used"


def endpoint_is_local(endpoint: str) -> str:
    """A notice: several nodes, and no endpoint."""
    return f"no --rdzv-endpoint for several nodes: using {endpoint}, which other machines cannot reach"


def filters_copy_what_is_shown(flag: str, stream: str) -> str:
    """A notice: a filter of lines that will get none."""
    return f"{flag} copies lines that --tee shows, and no worker's {stream} is tee'd"


def output_unseen(flags: Sequence[str], streams: Sequence[str]) -> str:
    """A notice: output that goes straight to the console cannot be searched."""
    verb = "sees" if len(flags) == 1 else "see"
    what = " and ".join(streams)
    return f"{' and '.join(flags)} {verb} no {what} that goes straight to the console; --tee=3 shows and keeps it"


def no_time_for_progress() -> str:
    """For --progress-pattern where nothing is too long."""
    return "--progress-pattern needs a --hang-timeout above 0: how long no such line may come"


def nothing_kept(flags: Sequence[str], log_dir: str) -> str:
    """A notice: streams were to go to files, and there shall be none."""
    return overridden(flags, f"--log-dir={log_dir} keeps no files; output stays on the console")


def output_is_in(directory: str) -> str:
    """A notice: where output went that nobody chose a place for."""
    return f"output is in {directory}; --log-dir chooses another place"


def time_spent(phases: Mapping[str, int]) -> str:
    """What the time of a launch went to, given in microseconds; the percentages sum to 100."""
    whole = sum(phases.values()) or 1
    shares = {name: 100 * time // whole for name, time in phases.items()}
    lost = sorted(phases, key=lambda name: 100 * phases[name] % whole, reverse=True)
    for name in lost[: 100 - sum(shares.values())]:
        shares[name] += 1
    first, *others = [f"{share} % {name} ({duration(phases[name] / 1e6)})" for name, share in shares.items()]
    return f"time: {', '.join([first, *others])}"


def duration(seconds: float) -> str:
    """So much time, in the two largest units that it has."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    hours, left = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    days, hours_left = divmod(hours, 24)
    return f"{days} d {hours_left} h" if days else f"{hours} h {left} min"


def one_thread_each(workers: int) -> str:
    """A notice: the number of threads was chosen."""
    return f"OMP_NUM_THREADS=1 for each of the {workers} workers; set the variable to have more threads"


def unknown_variable(name: str, near: str) -> str:
    """A notice: a variable that looks like a setting, and is none."""
    return f"{name} is set and means nothing here; did you mean {near}?"


def shown(text: str) -> str:
    """The text as it stands in a sentence: quoted where it would not be seen, or would break the line."""
    return text if text and text == text.strip() and text.isprintable() else repr(text)


def _meant(word: str, known: Sequence[str]) -> str | None:
    """The option that was misspelled, or misspelled and abbreviated; None when it is like none."""
    begins = {name[: len(word)]: name for name in reversed(known)}
    return closest(word, known, likeness=0.8) or begins.get(closest(word, tuple(begins), likeness=0.75) or "")


def closest(word: str, known: Sequence[str], likeness: float = 0.6) -> str | None:
    """The known word that looks most like this one, None when none does; `likeness` 1 is the same word."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, known, n=1, cutoff=likeness)), None)


# --- --dry-run -------------------------------------------------------------------------------------------

DIRECTORY_IS_GONE = (
    "the current directory has been removed: change to one that exists, also if there is a new one of its name"
)

PLAN_NOTICES = "Notices"
PLAN_SETTINGS = "Settings"
PLAN_PLUGINS = "Plugins"
PLAN_RENDEZVOUS = "Rendezvous"
PLAN_TIMEOUTS = "Timeouts"
PLAN_COMMANDS = "Workers"
PLAN_CPUS = "CPUs"
PLAN_ENVIRONMENT = "Added to each worker's environment (by local rank where it differs)"
PLAN_NO_LIMIT = "no limit"
PLAN_UNKNOWN = "known when the nodes have met"


def more_workers(count: int, first: int) -> str:
    """Workers that are not listed."""
    return f"and {count} more, local ranks {first} to {first + count - 1} (--dry-run=json lists all)"
