"""The text of the report, compared as a whole where it is usual and by its parts where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher_core.rules import story
from launcher_core.rules.blame import Failed, choose_root, find_exception
from launcher_core.rules.python_error import PythonError
from launcher_core.rules.ranks import ranks_text
from launcher_core.rules.story import Case, ending

TEXTS = Path(__file__).parent / "stderr"


def stderr(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text(encoding="utf-8")


def failed(rank: int, at: float = 5.0, exit_code: int = 1, stopped: bool = False, **more: Any) -> Failed:
    return Failed(rank, rank % 4, 100 + rank, exit_code, at, stopped, **more)


def raised(rank: int, name: str, at: float = 5.0, **more: Any) -> Failed:
    return failed(rank, at, stderr=stderr(name), error=find_exception(stderr(name)), **more)


def told(*failures: Failed, **more: Any) -> str:
    root = choose_root(failures)
    paths = {1: ["/logs/1/stdout.log", "/logs/1/stderr.log"]}
    return story.told(Case("train.py", failures, root.position, root.reason, paths, "node-3", **more))


def section(text: str, title: str) -> str:
    """The block of the report that begins with this title, without the title."""
    found = [part for part in text.split("\n\n  ") if part.startswith(f"{title}\n")]
    return found[0].partition("\n")[2] if found else ""


# --- whole reports -----------------------------------------------------------------------------------------


def test_an_exception_is_told_in_about_ten_lines() -> None:
    stopped = [failed(rank, 5.2, -15, stopped=True) for rank in (4, 6, 7)]
    assert told(stopped[0], raised(5, "no_message"), *stopped[1:]) == (
        "train.py FAILED: rank 5 on node-3 raised AssertionError\n"
        "\n"
        "  cause    AssertionError\n"
        "  where    /home/user/no_message.py:1 in <module>\n"
        "               assert 1 + 1 == 3\n"
        "  worker   rank 5 (local rank 1), pid 105, exit code 1\n"
        "  restarts none: --max-restarts is 0\n"
        "  blamed   rank 5 is the only worker that failed by itself; the launcher stopped the others\n"
        "\n"
        "  traceback\n"
        "    Traceback (most recent call last):\n"
        '      File "/home/user/no_message.py", line 1, in <module>\n'
        "        assert 1 + 1 == 3\n"
        "               ^^^^^^^^^^\n"
        "    AssertionError\n"
        "\n"
        "  stopped by the launcher: ranks 4, 6-7\n"
        "  logs     /logs/1/stdout.log\n"
        "           /logs/1/stderr.log"
    )


def test_a_signal_is_told_with_its_meaning_and_the_end_of_stderr() -> None:
    reset = PythonError("ConnectionResetError", "[Errno 104] Connection reset by peer")
    victims = [failed(rank, 5.003 + rank / 1000, error=reset) for rank in (0, 2, 3)]
    killed = failed(1, 5.0, -9, stderr="step 100\nstep 200\n")
    assert told(victims[0], killed, *victims[1:], restarts=3, max_restarts=3) == (
        "train.py FAILED: rank 1 on node-3 was ended by SIGKILL\n"
        "\n"
        "  cause    SIGKILL (signal 9): killed; often by the out-of-memory killer\n"
        "  worker   rank 1 (local rank 1), pid 101, SIGKILL\n"
        "  restarts 3 of 3 spent: --max-restarts allows no more\n"
        "  blamed   rank 1 failed first, 3.0 ms before rank 0\n"
        "\n"
        "  end of its stderr\n"
        "    step 100\n"
        "    step 200\n"
        "\n"
        "  also     ranks 0, 2-3  exit code 1  3.0 ms later  "
        "ConnectionResetError: [Errno 104] Connection reset by peer\n"
        "  logs     /logs/1/stdout.log\n"
        "           /logs/1/stderr.log"
    )


def test_a_command_that_cannot_run_is_told_in_a_few_lines() -> None:
    assert told(failed(0, exit_code=127, stderr="sh: 1: solver: not found\n")) == (
        "train.py FAILED: rank 0 on node-3 ended with exit code 127\n"
        "\n"
        "  cause    exit code 127: the command, or a library that it needs, was not found\n"
        "  worker   rank 0 (local rank 0), pid 100, exit code 127\n"
        "  restarts none: --max-restarts is 0\n"
        "\n"
        "  end of its stderr\n"
        "    sh: 1: solver: not found"
    )


# --- parts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "allowed", "line"),
    [
        (0, 0, "  restarts none: --max-restarts is 0"),
        (3, 3, "  restarts 3 of 3 spent: --max-restarts allows no more"),
        (1, 3, "  restarts 1 of 3 spent"),
    ],
)
def test_why_nothing_was_started_again_is_said(spent: int, allowed: int, line: str) -> None:
    assert told(failed(0), restarts=spent, max_restarts=allowed).split("\n")[4] == line


@pytest.mark.parametrize(
    ("exit_code", "cause"),
    [
        (-9, "SIGKILL (signal 9): killed; often by the out-of-memory killer"),
        (-11, "SIGSEGV (signal 11): segmentation fault: native code touched memory that is not its own"),
        (-15, "SIGTERM (signal 15): asked to stop, but not by this launcher"),
        (-7, "SIGBUS (signal 7): bus error; often /dev/shm or a mapped file has no room"),
        (-40, "SIGRTMIN+6 (signal 40)"),
        (-99, "signal 99"),
        (3, "exit code 3: it recorded and printed no Python exception"),
        (2, "exit code 2: often a usage error: a wrong argument or a missing script"),
        (126, "exit code 126: the command was found but cannot be executed"),
        (137, "exit code 137: how a shell reports that SIGKILL ended a command"),
        (255, "exit code 255: it recorded and printed no Python exception"),
    ],
)
def test_an_end_without_an_exception_is_explained(exit_code: int, cause: str) -> None:
    assert told(failed(0, exit_code=exit_code)).split("\n")[2] == f"  cause    {cause}"


def test_an_exception_that_was_handled_is_named_but_not_blamed() -> None:
    handled = stderr("no_message") + "INFO giving up\n"
    story = told(failed(0, exit_code=5, stderr=handled, seen=find_exception(handled)))
    assert story.split("\n")[0] == "train.py FAILED: rank 0 on node-3 ended with exit code 5"
    assert story.split("\n")[2] == (
        "  cause    exit code 5: an uncaught exception would be exit code 1; the last exception in its output, which "
        "it may have handled, is AssertionError"
    )
    assert section(story, "traceback") == ""
    assert "AssertionError\n    INFO giving up" in section(story, "end of its stderr")


@pytest.mark.parametrize(
    ("exit_code", "said"),
    [
        (1, "No module named nosuch"),
        (1, "No module named json.__main__; 'json' is a package and cannot be directly executed"),
        (1, "Error while finding module specification for 'no.such' (ModuleNotFoundError: No module named 'no')"),
        (2, "can't open file '/no/such.py': [Errno 2] No such file or directory"),
        (1, "can't find '__main__' module in '/tmp'"),
    ],
)
def test_a_program_that_python_did_not_find_is_the_cause(exit_code: int, said: str) -> None:
    story = told(failed(0, exit_code=exit_code, stderr=f"/usr/bin/python3: {said}\n"))
    assert story.split("\n")[2] == f"  cause    exit code {exit_code}: Python found nothing to run: {said}"


def test_a_text_in_the_error_file_is_the_cause() -> None:
    text = told(failed(0, message="out of disk space", error_file="/logs/0/error.json"))
    assert text == (
        "train.py FAILED: rank 0 on node-3 ended with exit code 1\n"
        "\n"
        "  cause    out of disk space\n"
        "  worker   rank 0 (local rank 0), pid 100, exit code 1\n"
        "  restarts none: --max-restarts is 0\n"
        "\n"
        "  logs     /logs/0/error.json"
    )


def test_a_crash_shows_the_line_of_python_that_it_happened_in() -> None:
    text = told(raised(0, "segfault", exit_code=-11))
    assert text.split("\n")[:5] == [
        "train.py FAILED: rank 0 on node-3 was ended by SIGSEGV",
        "",
        "  cause    SIGSEGV (signal 11): segmentation fault: native code touched memory that is not its own",
        "  where    /home/user/segfault.py:8 in poke",
        "  worker   rank 0 (local rank 0), pid 100, SIGSEGV",
    ]


def test_what_is_wrong_with_the_error_file_is_said() -> None:
    text = told(failed(0, error_file="/logs/0/error.json", problem="the error file is empty"))
    assert "  note     the error file is empty\n" in text
    assert text.endswith("\n  logs     /logs/0/error.json")


def test_a_long_message_is_cut_after_five_lines() -> None:
    error = PythonError("KeyError", "\n".join(f"line {number}" for number in range(9)))
    assert told(failed(0, error=error)).split("\n")[2:8] == [
        "  cause    KeyError: line 0",
        "           line 1",
        "           line 2",
        "           line 3",
        "           line 4",
        "           ... 4 more lines",
    ]


def test_a_long_message_leaves_room_for_the_frames_of_the_traceback() -> None:
    text = (
        '  File "a.py", line 1, in f\n    g()\n' + "KeyError: line 0\n" + "".join(f"line {n}\n" for n in range(1, 40))
    )
    error = find_exception(f"Traceback (most recent call last):\n{text}")
    assert section(told(failed(0, error=error)), "traceback").split("\n") == [
        "    Traceback (most recent call last):",
        '      File "a.py", line 1, in f',
        "        g()",
        "    KeyError: line 0",
        "    line 1",
        "    line 2",
        "    line 3",
        "    line 4",
        "    ... 35 more lines",
    ]


def test_a_long_traceback_loses_its_markers_first() -> None:
    lines = section(told(raised(0, "matmul")), "traceback").split("\n")
    whole = stderr("matmul").splitlines()
    assert lines == [f"    {line}" for line in whole if line.strip(" ^")]
    assert (len(whole), len(lines)) == (22, 16)


def test_a_longer_traceback_loses_its_middle_and_starts_again_at_a_frame() -> None:
    frames = [line for number in range(30) for line in (f'  File "a.py", line {number}, in f', "    g()")]
    error = PythonError("OSError", "x", None, ("Traceback (most recent call last):", *frames, "OSError: x"))
    lines = section(told(failed(0, error=error)), "traceback").split("\n")
    assert lines[:4] == [
        "    Traceback (most recent call last):",
        "      ... 44 lines ...",
        '      File "a.py", line 22, in f',
        "        g()",
    ]
    assert lines[-1] == "    OSError: x"
    assert len(lines) <= 20


def test_the_traceback_is_shown_once_and_what_was_printed_around_it_in_place() -> None:
    text = f"loading\n{stderr('value_error')}[W1122 09:50:04.2 group.cpp:12] not destroyed\n"
    shown = section(told(failed(0, stderr=text, error=find_exception(text))), "end of its stderr")
    assert shown == ("    loading\n    (the traceback above)\n    [W1122 09:50:04.2 group.cpp:12] not destroyed")


def test_the_traceback_from_an_error_file_is_not_repeated_from_stderr() -> None:
    """With a rank before every line, and more frames than the worker recorded."""
    printed = "".join(f"[rank0]: {line}\n" for line in stderr("module").splitlines())
    error = find_exception(stderr("value_error"))
    assert section(told(failed(0, stderr=printed, error=error)), "end of its stderr") == ""


def test_stderr_is_bounded_and_can_be_left_out() -> None:
    text = "".join(f"line {number}\n" for number in range(50))
    shown = section(told(failed(0, stderr=text), report_lines=3), "end of its stderr")
    assert shown == "    line 47\n    line 48\n    line 49"
    assert section(told(failed(0, stderr=text), report_lines=0), "end of its stderr") == ""


def test_the_last_lines_are_counted_before_the_traceback_is_taken_out() -> None:
    text = "".join(f"line {number}\n" for number in range(50)) + stderr("no_message")
    shown = section(told(failed(0, stderr=text, error=find_exception(text)), report_lines=7), "end of its stderr")
    assert shown == "    line 48\n    line 49\n    (the traceback above)"


def test_others_that_failed_alike_share_a_line() -> None:
    alike = [raised(rank, "value_error", 5.0 + rank) for rank in range(4)]
    text = told(*alike, failed(4, 6.5, -11), failed(5, 7.25, 3))
    assert [line for line in text.split("\n") if "later" in line] == [
        "  also     ranks 1-3  exit code 1  1.0 s later  the same",
        "           rank 4     SIGSEGV      1.5 s later",
        "           rank 5     exit code 3  2.2 s later",
    ]


def test_others_that_differ_in_numbers_share_a_line_without_the_place_in_native_code() -> None:
    def lost(rank: int) -> Failed:
        text = f"Read error [127.0.0.1]:{4 ** (6 + rank)}: Connection reset by peer. {'x' * 90}"
        return failed(rank, 5.25, error=PythonError("RuntimeError", f"[/src/gloo/tcp/pair.cc:537] {text}"))

    assert (
        "  also     ranks 0, 2  exit code 1  250 ms later  "
        "alike: RuntimeError: Read error [127.0.0.1]:4096: Connection reset by peer. xxxxxxxxxxxxxxxxxxxxx...\n"
    ) in told(lost(0), failed(1, exit_code=-9), lost(2))


def test_others_that_failed_each_in_its_own_way_are_bounded() -> None:
    text = told(failed(0), *(failed(rank, 5.0 + rank, 10 + rank) for rank in range(1, 13)))
    lines = text[text.index("  also") :].split("\n")
    assert len(lines) == 9
    assert lines[0] == "  also     rank 1  exit code 11  1.0 s later"
    assert lines[8] == "           and ranks 9-12"


def test_one_that_failed_earlier_but_as_an_echo_is_told_as_such() -> None:
    echo = failed(0, 4.75, error=PythonError("BrokenPipeError", "[Errno 32] Broken pipe"))
    text = told(echo, raised(1, "value_error"))
    assert text.split("\n")[0] == "train.py FAILED: rank 1 on node-3 raised ValueError"
    assert "  also     rank 0  exit code 1  250 ms earlier  BrokenPipeError: [Errno 32] Broken pipe\n" in text


def test_stopped_workers_that_needed_sigkill_are_named() -> None:
    stopped = [failed(rank, 5.2, -9 if rank == 3 else -15, stopped=True) for rank in (0, 2, 3)]
    assert "\n  stopped by the launcher: ranks 0, 2-3 (rank 3 by SIGKILL)\n" in told(failed(1), *stopped)


def test_a_launch_whose_workers_were_all_stopped_says_so() -> None:
    text = told(*(failed(rank, 5.0 + rank, -15, stopped=True) for rank in (0, 1)))
    assert text.split("\n")[0] == "train.py FAILED: rank 0 on node-3 was stopped by the launcher"


def test_very_long_lines_are_cut() -> None:
    text = told(raised(0, "value_error")._replace(error=PythonError("ValueError", "x" * 5000)))
    assert max(len(line) for line in text.split("\n")) == 300


@pytest.mark.parametrize("path", sorted(TEXTS.iterdir()), ids=lambda path: path.stem)
@pytest.mark.parametrize("exit_code", [1, -6, -9])
def test_no_report_is_long_or_has_a_placeholder(path: Path, exit_code: int) -> None:
    text = path.read_text(encoding="utf-8")
    report = told(failed(0, exit_code=exit_code, stderr=text, error=find_exception(text)))
    assert "<N/A>" not in report
    assert "\x1b" not in report
    assert "\n\n\n" not in report
    assert len(report.split("\n")) <= 50


@pytest.mark.parametrize(
    ("ranks", "text"),
    [
        ([3], "rank 3"),
        ([3, 0, 2], "ranks 0, 2-3"),
        (range(8), "ranks 0-7"),
        ([1, 3, 5], "ranks 1, 3, 5"),
        ([12, 10, 11, 7], "ranks 7, 10-12"),
        ([0, 1, 2, 4, 5, 6, 7], "ranks 0-2, 4-7"),
        (range(1024), "ranks 0-1023"),
    ],
)
def test_ranks_are_joined_into_runs(ranks: list[int], text: str) -> None:
    assert ranks_text(ranks) == text


@pytest.mark.parametrize(
    ("exit_code", "text"), [(0, "exit code 0"), (3, "exit code 3"), (-9, "SIGKILL"), (-99, "signal 99")]
)
def test_an_exit_code_has_a_short_form(exit_code: int, text: str) -> None:
    assert ending(exit_code) == text
