"""The table of options, and what is derived from it: variables, help, completion and the argparse parser."""

from __future__ import annotations

import argparse
import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from launcher_core import __version__
from launcher_core.cli.completion import script
from launcher_core.cli.options import ASK, GROUPS, OPTIONS, by_dest
from launcher_core.cli.parse import Origin, parse_args, read
from launcher_core.cli.parser import get_args_parser
from launcher_core.cli.usage import help_text
from launcher_core.errors import UsageError

TORCHRUN: dict[str, tuple[object, str]] = {
    "nnodes": ("1:1", ""), "nproc-per-node": ("1", ""), "rdzv-backend": ("static", ""),
    "rdzv-endpoint": ("", ""), "rdzv-id": ("none", ""), "rdzv-conf": ("", ""), "standalone": (False, ""),
    "max-restarts": (0, ""),
    "monitor-interval": (0.1, ""), "start-method": ("spawn", ""), "event-log-handler": ("null", ""),
    "role": ("default", ""), "module": (False, "-m"), "no-python": (False, ""), "run-path": (False, ""),
    "log-dir": (None, ""), "redirects": ("0", "-r"), "tee": ("0", "-t"), "local-ranks-filter": ("", ""),
    "duplicate-stdout-filters": ([], ""), "duplicate-stderr-filters": ([], ""), "node-rank": (0, ""),
    "master-addr": ("127.0.0.1", ""), "master-port": (None, ""), "local-addr": (None, ""),
    "logs-specs": (None, ""), "numa-binding": (None, ""),
    "signals-to-handle": ("SIGTERM,SIGINT,SIGHUP,SIGQUIT", ""),
    "shutdown-timeout": (None, ""), "virtual-local-rank": (False, ""), "log-line-prefix-template": ("", ""),
}  # fmt: skip
"""What torchrun has: default and short spelling."""

OURS: dict[str, object] = {
    "exit-code": "one", "exit-barrier-timeout": None, "policy": "", "stdin": "0", "report-lines": 20, "report": None,
    "forward-signals": "", "hang-timeout": 300.0, "hang-action": "report",
    "hang-pattern": "", "progress-pattern": "",
}  # fmt: skip


@pytest.mark.parametrize("name", [*TORCHRUN, *OURS])
def test_a_setting_has_two_long_spellings_and_a_variable(name: str) -> None:
    option = by_dest()[name.replace("-", "_")]
    default, short = TORCHRUN.get(name) or (OURS[name], "")
    long = dict.fromkeys((f"--{name}", f"--{option.dest}"))
    assert option._replace(help="", group="", metavar="", kind="text", choices=()) == (
        option.dest,
        (*long, *([short] if short else [])),
        "text",
        default,
        f"PET_{option.dest.upper()}",
        "",
        "",
        "",
        (),
        None,
        name in TORCHRUN,
    )


def test_what_only_asks_cannot_be_set_by_a_variable() -> None:
    asking = {option.dest: option.variable for option in OPTIONS if option.group == ASK}
    names = ("dry_run", "status", "stacks", "list_plugins", "print_completion", "version", "help")
    assert asking == dict.fromkeys(names, "")


def test_no_spelling_means_two_options() -> None:
    spellings = [spelling for option in OPTIONS for spelling in option.spellings]
    assert sorted(spellings) == sorted(set(spellings))


# --- variables and precedence ----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1", "2", "-1", " 1 ", "true", "True", "YES", "y", "on"])
def test_a_switch_is_on_for_any_number_but_0_and_for_yes(text: str) -> None:
    assert read(["s.py"], {"PET_MODULE": text}).origin["module"] == Origin(True, "variable", "PET_MODULE")


@pytest.mark.parametrize("text", ["0", "00", " 0 ", "false", "No", "n", "off"])
def test_a_switch_is_off_for_0_and_for_no(text: str) -> None:
    assert read(["s.py"], {"PET_MODULE": text}).origin["module"] == Origin(False, "variable", "PET_MODULE")


@pytest.mark.parametrize("text", ["", "maybe", "1.0"])
def test_a_switch_that_is_neither_names_its_variable(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(["s.py"], {"PET_STANDALONE": text})
    assert str(caught.value) == f"PET_STANDALONE={text!r}: write 1 or true for yes, 0 or false for no"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("PET_MAX_RESTARTS", "x", "PET_MAX_RESTARTS='x': write a whole number"),
        ("PET_MASTER_PORT", "", "PET_MASTER_PORT='': write a whole number"),
        ("PET_MONITOR_INTERVAL", "fast", "PET_MONITOR_INTERVAL='fast': write a number of seconds"),
        ("PET_EXIT_CODE", "both", "PET_EXIT_CODE='both': write one of one, worker"),
        ("PET_NUMA_BINDING", "x", "PET_NUMA_BINDING='x': write one of node, socket, exclusive, core-complex"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(name: str, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(["s.py"], {name: text})
    assert str(caught.value) == words


def test_a_flag_wins_over_its_variable_which_is_not_even_read() -> None:
    args = read(["--max-restarts", "3", "--nproc=2", "s.py"], {"PET_MAX_RESTARTS": "x", "PET_NNODES": "2"})
    assert {dest: args.origin[dest] for dest in ("max_restarts", "nproc_per_node", "nnodes", "role")} == {
        "max_restarts": Origin(3, "flag", "--max-restarts 3"),
        "nproc_per_node": Origin("2", "flag", "--nproc=2"),
        "nnodes": Origin("2", "variable", "PET_NNODES"),
        "role": Origin("default", "default", "default"),
    }


def test_an_empty_variable_is_set() -> None:
    assert read(["s.py"], {"PET_NNODES": ""}).nnodes == ""


def test_of_a_repeated_option_the_last_counts() -> None:
    args = read(["-t", "1", "--tee=2", "-t3", "--rdzv_id=a", "--rdzv-id", "b", "s.py"], {})
    assert (args.tee, args.rdzv_id) == ("3", "b")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a,,b,c", ["a,b", "c"]),
        ("a,,,b", ["a,", "b"]),
        ("", [""]),
        (",", ["", ""]),
        (" a , b", [" a ", " b"]),
    ],
)
def test_two_commas_in_a_list_are_one(text: str, items: list[str]) -> None:
    assert read([f"--duplicate-stdout-filters={text}", "s.py"], {}).duplicate_stdout_filters == items


def test_the_arguments_are_torchruns_names_and_the_script_with_its_own() -> None:
    args = read(["s.py", "--nnodes=3", "--"], {})
    assert (args.training_script, args.training_script_args) == ("s.py", ["--nnodes=3", "--"])
    assert {option.dest for option in OPTIONS} <= set(vars(args))


# --- what is answered at once ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "begins"),
    [
        (["--version"], f"launcher {__version__}\n"),
        (["--nnodes=2", "-h", "--version"], "usage: launcher [options] script"),
        (["--print-completion=bash"], "# Completion of launcher for bash"),
        (["--print-completion", "zsh", "s.py"], "#compdef launcher"),
        (["--print-completion=tcsh"], "complete launcher '"),
    ],
)
def test_a_question_is_answered_on_stdout_with_success(
    argv: list[str], begins: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_args(argv, {})
    shown = capsys.readouterr()
    assert (caught.value.code, shown.out[: len(begins)], shown.err) == (0, begins, "")


@pytest.mark.parametrize(
    ("argv", "last"),
    [
        ([], "there is no script to run; write it after the options"),
        (["--max-restarts=x", "s.py"], "--max-restarts=x: write a whole number"),
        (["--max-restarts", "x", "s.py"], "--max-restarts x: write a whole number"),
        (["--numa-b=x", "s.py"], "--numa-b=x: write one of node, socket, exclusive, core-complex"),
        (["--dry-run=xml", "s.py"], "--dry-run=xml: write one of text, json"),
        (["--print-completion=fish"], "--print-completion=fish: write one of bash, zsh, tcsh"),
        (["--module=1", "s.py"], "--module=1: --module takes no value; write --module, or leave it out"),
    ],
)  # fmt: skip
def test_words_that_cannot_be_read_end_with_status_2_and_three_lines(
    argv: list[str], last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse_args(argv, {})
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert (caught.value.code, shown.out, len(lines), lines[-1]) == (2, "", 3, f"launcher: error: {last}")


def test_a_list_of_plugins_needs_no_script() -> None:
    args = parse_args(["--list-plugins"], {})
    assert (args.list_plugins, args.training_script) == (True, None)


def test_the_help_shows_examples_first_then_every_option_by_task() -> None:
    text = help_text()
    places = [text.index("\nExamples:"), *(text.index(f"\n{group}:") for group in GROUPS)]
    assert places == sorted(places)
    assert [option.flag for option in OPTIONS if f" {option.flag}" not in text] == []
    assert max(len(line) for line in text.splitlines()) <= 110


IMPORTED_AT_ONCE = ("launcher_core.__main__", "launcher_core.run", "launcher_core.cli.parse",
                    "launcher_core.cli.usage", "launcher_core.cli.completion")  # fmt: skip


def test_help_and_version_import_no_plugin_and_nothing_expensive() -> None:
    seen: set[str] = set()
    waiting = list(IMPORTED_AT_ONCE)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += _imports(name) if name.startswith("launcher_") else []
    heavy = {"attr", "attrs", "pluggy", "stevedore", "argparse", "importlib", "subprocess", "inspect"}
    assert {name.partition(".")[0] for name in seen} & heavy == set()
    assert [name for name in seen if name.startswith("launcher_plugins")] == []


def _imports(name: str) -> list[str]:
    """The modules that importing one imports at its top."""
    spec = find_spec(name)
    assert spec is not None and spec.origin is not None
    found: list[str] = []
    for node in ast.parse(Path(spec.origin).read_text()).body:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            ours = node.module.startswith("launcher_")
            found += [
                node.module,
                *(one for one in inner if ours and find_spec(node.module) and _is_module(one)),
            ]
    return found


def _is_module(name: str) -> bool:
    parent = find_spec(name.rpartition(".")[0])
    return parent is not None and parent.submodule_search_locations is not None and find_spec(name) is not None


# --- completion ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_completion_script_knows_every_option_and_leaves_no_gap(shell: str) -> None:
    text = script(shell)
    assert [option.flag for option in OPTIONS if option.flag not in text] == []
    assert "@" not in text.replace('"$@"', "")


def test_a_completion_script_for_tcsh_is_one_line_which_is_what_tcsh_evaluates() -> None:
    assert "\n" not in script("tcsh")


# --- the parser for wrappers -----------------------------------------------------------------------------

HEADS: tuple[list[str], ...] = (
    [],
    ["--nnodes=2:3", "--nproc_per_node", "4"],
    ["--nproc", "2", "-mr3", "--tee=0:1"],
    ["--standalone", "--max-restarts", "-1", "--monitor-interval=0.5"],
    ["--dry-run", "--duplicate-stdout-filters=a,,b,c", "--redirect=3"],
    ["--dry-run=json", "--exit-code", "worker", "--stdin=none", "--log-dir="],
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("tail", [["s.py"], ["s.py", "--", "--nnodes=9", "-h", "--log"], ["--", "-s", "--", "x"]])
def test_argparse_reads_what_we_read(head: list[str], tail: list[str]) -> None:
    environ = {"PET_NO_PYTHON": "yes", "PET_MASTER_PORT": "29501", "PET_ROLE": "trainer"}
    ours = vars(read([*head, *tail], environ))
    theirs = vars(get_args_parser(environ).parse_args([*head, *tail]))
    asked = ("help", "version", "print_completion", "origin")
    assert theirs == {name: value for name, value in ours.items() if name not in asked}


def test_a_wrapper_may_add_options_of_its_own() -> None:
    parser = get_args_parser({})
    parser.add_argument("--use-env", action="store_true")
    parser.add_argument("--queue")
    args = parser.parse_args(["--queue", "q1", "--nproc=2", "--use-env", "s.py", "--queue", "--r=16"])
    assert (args.queue, args.use_env, args.nproc_per_node) == ("q1", True, "2")
    assert (args.training_script, args.training_script_args) == ("s.py", ["--queue", "--r=16"])


def test_a_wrapper_with_arguments_of_another_shape_gets_argparses_own_rules() -> None:
    parser = get_args_parser({})
    parser.add_argument("--hosts", nargs="+")
    args = parser.parse_args(["--hosts", "a", "b", "--nnodes=2", "s.py", "x"])
    assert (args.hosts, args.nnodes) == (["a", "b"], "2")
    assert (args.training_script, args.training_script_args) == ("s.py", ["x"])


def test_argparse_refuses_what_we_refuse(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--max-restarts=x", "s.py"], ["--bogus", "s.py"], ["--exit-code=both", "s.py"], []):
        with pytest.raises(SystemExit) as caught:
            get_args_parser({}).parse_args(argv)
        assert caught.value.code == 2
    assert "write a whole number" in capsys.readouterr().err


def test_the_parser_is_argparses() -> None:
    assert isinstance(get_args_parser({}), argparse.ArgumentParser)
    with pytest.raises(UsageError, match="PET_MODULE"):
        get_args_parser({"PET_MODULE": "perhaps"})
