"""Where the script begins, and what stands before it."""

from __future__ import annotations

import random

import pytest

from launcher_core.cli.options import OPTIONS, Option
from launcher_core.cli.split import Split, split
from launcher_core.errors import UsageError


def pairs(parts: Split) -> list[tuple[str, str | None]]:
    return [(given.option.dest, given.value) for given in parts.given]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--nnodes", "2"], [("nnodes", "2")]),
        (["--nnodes=2"], [("nnodes", "2")]),
        (["--nproc_per_node=2", "--nproc-per-node", "3"], [("nproc_per_node", "2"), ("nproc_per_node", "3")]),
        (["--rdzv-conf=a=1,b=2"], [("rdzv_conf", "a=1,b=2")]),
        (["--log-dir="], [("log_dir", "")]),
        (["-r3"], [("redirects", "3")]),
        (["-r=3"], [("redirects", "3")]),
        (["-r", "3"], [("redirects", "3")]),
        (["-mr3"], [("module", None), ("redirects", "3")]),
        (["-mt", "0:3"], [("module", None), ("tee", "0:3")]),
        (["-m", "--no-python"], [("module", None), ("no_python", None)]),
        (["--redirect=3"], [("redirects", "3")]),
        (["--re=3"], [("redirects", "3")]),
        (["--nproc", "2"], [("nproc_per_node", "2")]),
        (["--no_p"], [("no_python", None)]),
        (["--no-"], [("no_python", None)]),
        (["--rdzv-e", "x"], [("rdzv_endpoint", "x")]),
        (["--mast", "x"], None),
        (["--dry-run"], [("dry_run", "text")]),
        (["--dry-run=json"], [("dry_run", "json")]),
        (["--dry"], [("dry_run", "text")]),
        (["--max-restarts", "-1"], [("max_restarts", "-1")]),
        (["--monitor-interval", "-.5"], [("monitor_interval", "-.5")]),
        (["--log-dir", "-"], [("log_dir", "-")]),
        (["--log-line-prefix-template", "- ${rank} "], [("log_line_prefix_template", "- ${rank} ")]),
    ],
)
def test_an_option_is_read_however_it_is_written(
    words: list[str], expected: list[tuple[str, str | None]] | None
) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            split([*words, "s.py"])
        return
    parts = split([*words, "s.py", "--x"])
    assert (pairs(parts), parts.script, parts.args) == (expected, "s.py", ("--x",))


@pytest.mark.parametrize(
    ("argv", "script", "args"),
    [
        (["s.py"], "s.py", ()),
        (["s.py", "--", "--x"], "s.py", ("--", "--x")),
        (["--", "s.py", "--", "--x"], "s.py", ("--", "--x")),
        (["--", "--", "--x"], "--", ("--x",)),
        (["--", "-s.py", "-h"], "-s.py", ("-h",)),
        (["s.py", "--nnodes=3", "--log", "--r=16", "-h"], "s.py", ("--nnodes=3", "--log", "--r=16", "-h")),
        (["-", "x"], "-", ("x",)),
        (["", "x"], "", ("x",)),
        (["--nnodes", "1", "s.py"], "s.py", ()),
        (["--dry-run", "json"], "json", ()),
        (["--nnodes=2"], None, ()),
        (["--"], None, ()),
        ([], None, ()),
    ],
)
def test_the_first_word_that_is_no_option_is_the_script(
    argv: list[str], script: str | None, args: tuple[str, ...]
) -> None:
    parts = split(argv)
    assert (parts.script, parts.args) == (script, args)


@pytest.mark.parametrize(
    ("word", "dest"),
    [("--e=console", "event_log_handler"), ("--st=2", None), ("--std=2", "stdin"),
     ("--report-=5", "report_lines"), ("--v", "virtual_local_rank"), ("--vers", "version"), ("--h", "help"),
     ("--exit-c=one", "exit_code")],
)  # fmt: skip
def test_an_abbreviation_that_torchrun_knows_is_never_taken_by_an_option_of_ours(word: str, dest: str | None) -> None:
    if dest is None:
        with pytest.raises(UsageError, match=r"--standalone, --start-method"):
            split([word, "s.py"])
    else:
        assert pairs(split([word, "s.py"]))[0][0] == dest


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--rdzv", "x"],
         "--rdzv could be --rdzv-backend, --rdzv-endpoint, --rdzv-id, --rdzv-conf; write more of it"),
        (["--m=1"],
         "--m could be --module, --master-addr, --master-port, --max-restarts, --monitor-interval; "
         "write more of it"),
        (["--standalone=1", "s.py"],
         "--standalone=1: --standalone takes no value; write --standalone, or leave it out"),
        (["--stand=1", "s.py"],
         "--stand=1: --standalone takes no value; write --standalone, or leave it out"),
        (["-m=1", "s.py"], "-m=1: --module takes no value; write --module, or leave it out"),
        (["--nnodes"], "--nnodes needs a value; write --nnodes=VALUE"),
        (["--nnodes", "--standalone", "s.py"],
         "--nnodes needs a value, and '--standalone' is none; write --nnodes=VALUE"),
        (["--nnodes", "--", "s.py"], "--nnodes needs a value, and '--' is none; write --nnodes=VALUE"),
        (["-r"], "-r needs a value; write --redirects=VALUE"),
        (["--nprocs-per-node=2", "s.py"],
         "--nprocs-per-node: no such option; did you mean --nproc-per-node? "
         "The script's own options come after the script."),
        (["--nprocs", "2", "s.py"],
         "--nprocs: no such option; did you mean --nproc-per-node? The script's own options come after the script."),
        (["--world-size=2", "s.py"],
         "--world-size: no such option; --help lists the options. "
         "The script's own options come after the script."),
        (["-z", "s.py"],
         "-z: no such option; --help lists the options. The script's own options come after the script."),
        (["-mz", "s.py"],
         "-mz: no such option; --help lists the options. The script's own options come after the script."),
    ],
)  # fmt: skip
def test_words_that_make_no_sense_are_refused_with_the_way_out(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        split(argv)
    assert str(caught.value) == words


TRICKY = (
    "--", "-", "", "-h", "--help", "--version", "--nnodes=3", "--nnodes", "--log", "--r=16", "--mo", "-r",
    "-m", "-mr3", "--nproc", "--no", "--standalone", "--standalone=1", "--dry-run", "=", "--=", "-=", "-1",
    "a b", "--a b", "'", '"', "${local_rank}", "$$", "\u00e9", "\udcff", "\n", "\0", "--unknown",
    "--rdzv_conf='a=1'",
)  # fmt: skip


def _beginnings(option: Option) -> list[str]:
    """Every beginning of the option's long spellings that nothing else begins with."""
    others = [name for other in OPTIONS if other.dest != option.dest for name in other.spellings]
    return [
        name[:size]
        for name in option.spellings
        if name.startswith("--")
        for size in range(3, len(name))
        if not any(other.startswith(name[:size]) for other in others)
    ]


BEGINNINGS = {option.dest: _beginnings(option) for option in OPTIONS}


def test_ten_thousand_command_lines_come_apart_where_they_were_put_together() -> None:
    dice = random.Random(20261122)
    for _ in range(10_000):
        head, expected = _options(dice)
        script = dice.choice(("s.py", "-", "", "./x y", "dir/", "\udcff.py", "=", "train.py=3"))
        if dice.random() < 0.3:
            head = [*head, "--"]
            script = dice.choice((script, "--nnodes=3", "--", "-h"))
        tail = [dice.choice((*TRICKY, _noise(dice))) for _ in range(dice.randrange(8))]
        parts = split([*head, script, *tail])
        assert (pairs(parts), parts.script, parts.args, parts.at) == (
            expected,
            script,
            tuple(tail),
            len(head),
        )


def _options(dice: random.Random) -> tuple[list[str], list[tuple[str, str | None]]]:
    """Words for a few options, and what they mean."""
    words: list[str] = []
    meant: list[tuple[str, str | None]] = []
    for _ in range(dice.randrange(6)):
        option = dice.choice(OPTIONS)
        spelling = dice.choice((*option.spellings, *BEGINNINGS[option.dest]))
        value = dice.choice(("3", "a=b", "0:3,1:2", "x y", "-1", "-", "", "auto", "\udcff"))
        if option.kind == "switch":
            words, meant = [*words, spelling], [*meant, (option.dest, None)]
        elif option.bare is not None and dice.random() < 0.5:
            words, meant = [*words, spelling], [*meant, (option.dest, option.bare)]
        else:
            words += _valued(dice, spelling, value, option)
            meant = [*meant, (option.dest, value)]
    return words, meant


def _valued(dice: random.Random, spelling: str, value: str, option: Option) -> list[str]:
    if not spelling.startswith("--"):
        joined = [f"{spelling}={value}"] + ([f"{spelling}{value}"] if value and value[0] != "=" else [])
        return dice.choice(([spelling, value], [joined[-1]])) if value else [spelling, value]
    if option.bare is not None:
        return [f"{spelling}={value}"]
    return dice.choice(([spelling, value], [f"{spelling}={value}"]))


def _noise(dice: random.Random) -> str:
    return "".join(chr(dice.choice((32, 45, 45, 61, 36, 123, 97, 110, 233, 0x4E2D, 0xDC80))) for _ in range(5))
