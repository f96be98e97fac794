"""Finding the exception in what a process printed.

The texts in stderr/ were printed by real programs under Python 3.8 to 3.13.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher_core.rules.python_error import HEADER, Frame, PythonError, clean, find_exception

TEXTS = Path(__file__).parent / "stderr"
HOME = "/home/user"


def stderr(name: str) -> str:
    return (TEXTS / f"{name}.txt").read_text(encoding="utf-8")


FOUND = {
    "value_error": ("ValueError", "bad batch 2", "value_error.py", 3, "step"),
    "value_error_py38": ("ValueError", "bad batch 2", "value_error.py", 3, "step"),
    "value_error_py313": ("ValueError", "bad batch 2", "value_error.py", 3, "step"),
    "value_error_py313_colour": ("ValueError", "bad batch 2", "value_error.py", 3, "step"),
    "module": ("ValueError", "bad batch 2", "value_error.py", 3, "step"),
    "no_message": ("AssertionError", "", "no_message.py", 1, "<module>"),
    "module_missing": (
        "ModuleNotFoundError",
        "No module named 'transformerz'",
        "module_missing.py",
        1,
        "<module>",
    ),
    "custom": ("ShardMissing", "shard 3: not found", "custom.py", 5, "main"),
    "unicode": ("ValueError", "ungültige Größe: 0 – erwartet ≥ 1", "unicode.py", 2, "größe"),  # noqa: RUF001
    "notes": ("ValueError", "bad record\nwhile reading shard 3\noffset 812", "notes.py", 5, "main"),
    "multi_line": (
        "RuntimeError",
        "Error(s) in loading state_dict for Net:\n  parameter 0: (3, 4)\n  parameter 1: (5,)\n\nsee above",
        "multi_line.py",
        3,
        "check",
    ),
    "long_call": ("TypeError", "parts do not fit", "long_call.py", 2, "join"),
    "long_call_py313": ("TypeError", "parts do not fit", "long_call.py", 2, "join"),
    "recursion": ("RecursionError", "maximum recursion depth exceeded", "recursion.py", 2, "walk"),
    "recursion_py313": ("RecursionError", "maximum recursion depth exceeded", "recursion.py", 2, "walk"),
    "library": (
        "json.decoder.JSONDecodeError",
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "library.py",
        5,
        "load",
    ),
    "matmul": (
        "RuntimeError",
        "mat1 and mat2 shapes cannot be multiplied (3x5 and 4x2)",
        "matmul.py",
        10,
        "forward",
    ),
    "connect": ("ConnectionRefusedError", "[Errno 111] Connection refused", "connect.py", 10, "main"),
    "store_refused": (
        "torch.distributed.DistNetworkError",
        "The client socket has timed out after 2000ms while trying to connect to (127.0.0.1, 1).",
        "store_refused.py",
        4,
        "<module>",
    ),
    "syntax": ("SyntaxError", "'(' was never closed", "syntax.py", 2, ""),
    "syntax_py38": ("SyntaxError", "invalid syntax", "syntax.py", 4, ""),
    "syntax_py313_colour": ("SyntaxError", "'(' was never closed", "syntax.py", 2, ""),
    "imports_broken": ("SyntaxError", "invalid syntax", "broken.py", 1, ""),
    "during": ("KeyError", "'default_momentum'", "during.py", 8, "get"),
    "cause": ("ConfigError", "no setting named momentum", "cause.py", 9, "get"),
    "cause_py313_colour": ("ConfigError", "no setting named momentum", "cause.py", 9, "get"),
    "rank_prefix": ("ValueError", "step failed\nsee the shapes", "rank_prefix.py", 17, "main"),
    "pool": ("ZeroDivisionError", "division by zero", "pool.py", 5, "work"),
    "futures": ("KeyError", "'b'", "futures.py", 5, "work"),
    "loader": ("KeyError", "'no sample 2'", "loader.py", 10, "__getitem__"),
    "mp_spawn": ("ValueError", "worker 0 has no data", "mp_spawn.py", 5, "worker"),
    "child_process": ("ValueError", "the child has nothing to do", "child_process.py", 5, "work"),
    "progress": ("IndexError", "index 4 is out of range", "progress.py", 7, "main"),
    "interrupt": ("KeyboardInterrupt", "", "interrupt.py", 2, "main"),
    "logged": ("ZeroDivisionError", "loss is zero", "logged.py", 8, "step"),
    "group": (
        "ExceptionGroup",
        "two parts failed (2 sub-exceptions)\nValueError: part 1 is bad\nTypeError: part 2 has no type",
        "group.py",
        3,
        "part",
    ),
    "taskgroup": ("OSError", "shard 7 is gone", "taskgroup.py", 5, "fetch"),
    "nested_group": (
        "ExceptionGroup",
        "outer (2 sub-exceptions)\nKeyError: 'a'\nValueError: b",
        "nested_group.py",
        3,
        "main",
    ),
    "thread": ("RuntimeError", "the pump broke", "thread.py", 5, "pump"),
    "thread_then_main": ("TimeoutError", "no data for 30 s", "thread_then_main.py", 12, "main"),
    "ignored": ("LookupError", "the real one", "ignored.py", 7, "main"),
    "atexit_noise": ("FloatingPointError", "loss is nan at step 100", "atexit_noise.py", 10, "main"),
    "asyncio_task": ("RuntimeError", "the main task failed", "asyncio_task.py", 12, "main"),
    "segfault": ("Fatal Python error", "Segmentation fault", "segfault.py", 8, "poke"),
    "segfault_py38": ("Fatal Python error", "Segmentation fault", "segfault.py", 8, "poke"),
    "segfault_py313": ("Fatal Python error", "Segmentation fault", "segfault.py", 8, "poke"),
    "abort": ("Fatal Python error", "Aborted", "abort.py", 8, "main"),
}


@pytest.mark.parametrize("name", sorted(FOUND))
def test_the_exception_and_the_users_own_line_are_found(name: str) -> None:
    error = find_exception(stderr(name))
    assert error is not None
    assert error.frame is not None
    seen = (error.type, error.message, error.frame.file, error.frame.line, error.frame.function)
    kind, message, file, line, function = FOUND[name]
    assert seen == (kind, message, f"{HOME}/{file}", line, function)


@pytest.mark.parametrize("name", ["missing_script", "missing_module"])
def test_what_is_no_traceback_holds_no_exception(name: str) -> None:
    assert find_exception(stderr(name)) is None


@pytest.mark.parametrize("name", ["dash_c", "exec_string"])
def test_code_given_as_a_string_is_the_users_own(name: str) -> None:
    error = find_exception(stderr(name))
    assert error is not None
    assert error.frame is not None
    assert error.frame.file == "<string>"


def test_every_text_in_the_corpus_is_used() -> None:
    others = {"missing_script", "missing_module", "dash_c", "exec_string", "peer_lost"}
    assert {path.stem for path in TEXTS.iterdir()} == others | set(FOUND)


def test_the_source_line_and_the_clean_traceback_come_with_it() -> None:
    assert find_exception(stderr("rank_prefix")) == PythonError(
        "ValueError",
        "step failed\nsee the shapes",
        Frame(
            f"{HOME}/rank_prefix.py",
            17,
            "main",
            r'raise ValueError("step failed\nsee the shapes") from error',
        ),
        (
            HEADER,
            f'  File "{HOME}/rank_prefix.py", line 15, in main',
            "    step()",
            f'  File "{HOME}/rank_prefix.py", line 10, in step',
            "    return torch.ones(3) @ torch.ones(4)",
            "           ~~~~~~~~~~~~~~^~~~~~~~~~~~~~~",
            "RuntimeError: inconsistent tensor size, expected tensor [3] and src [4] to have the same number "
            "of elements, but got 3 and 4 elements respectively",
            "",
            "The above exception was the direct cause of the following exception:",
            "",
            HEADER,
            f'  File "{HOME}/rank_prefix.py", line 20, in <module>',
            "    main()",
            f'  File "{HOME}/rank_prefix.py", line 17, in main',
            r'    raise ValueError("step failed\nsee the shapes") from error',
            "ValueError: step failed",
            "see the shapes",
        ),
    )


def test_a_progress_bar_before_the_header_is_cut_off() -> None:
    error = find_exception(stderr("progress"))
    assert error is not None
    assert error.lines[0] == HEADER


def test_a_traceback_that_is_cut_off_at_its_end_does_not_count() -> None:
    whole = stderr("value_error")
    assert find_exception(whole + "\n".join(whole.splitlines()[:4])) == find_exception(whole)
    assert find_exception("\n".join(whole.splitlines()[:5])) is None


def test_a_traceback_that_is_cut_off_at_its_head_still_counts() -> None:
    error = find_exception("\n".join(stderr("value_error").splitlines()[3:]))
    assert error is not None
    assert error[:3] == (
        "ValueError",
        "bad batch 2",
        Frame(f"{HOME}/value_error.py", 3, "step", 'raise ValueError("bad batch 2")'),
    )


def test_the_last_of_several_tracebacks_counts() -> None:
    error = find_exception(stderr("library") + "retrying\n" + stderr("value_error"))
    assert error is not None
    assert error.summary() == "ValueError: bad batch 2"


def test_a_crash_without_a_python_frame_leaves_the_exception_before_it() -> None:
    teardown = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
    error = find_exception(stderr("value_error") + teardown + "  <no Python frame>\n")
    assert error is not None
    assert error.summary() == "ValueError: bad batch 2"


def test_the_thread_that_crashed_is_shown_and_not_the_others() -> None:
    error = find_exception(
        "Fatal Python error: Segmentation fault\n\n"
        "Thread 0x1 (most recent call first):\n"
        '  File "/home/user/pump.py", line 9 in pump\n\n'
        "Current thread 0x2 (most recent call first):\n"
        '  File "/home/user/train.py", line 4 in step\n\n'
        "Extension modules: numpy.core._multiarray_umath (total: 1)\n"
    )
    assert error is not None
    assert error.frame == Frame("/home/user/train.py", 4, "step")


@pytest.mark.parametrize(
    "file",
    [
        "/usr/lib/python3.11/json/decoder.py",
        "/usr/lib/python3/dist-packages/numpy/core.py",
        "/opt/conda/lib/python3.10/site-packages/torch/nn/modules/module.py",
        "/home/user/.local/lib/python3.12/site-packages/pkg/a.py",
        "/usr/lib/python3.13t/threading.py",
        "<frozen importlib._bootstrap>",
        "/home/user/src/launcher_core/worker/record.py",
    ],
)
def test_library_code_is_passed_over_for_the_users_own(file: str) -> None:
    own = '  File "/home/user/train.py", line 7, in main'
    error = find_exception(f'{HEADER}\n{own}\n  File "{file}", line 9, in f\nOSError: x\n')
    assert error is not None
    assert error.frame == Frame("/home/user/train.py", 7, "main")


def test_the_last_frame_is_shown_when_all_are_library_code() -> None:
    first = '  File "/usr/lib/python3.11/runpy.py", line 7, in a'
    last = "/usr/lib/python3.11/ast.py"
    error = find_exception(f'{HEADER}\n{first}\n  File "{last}", line 9, in b\nOSError\n')
    assert error is not None
    assert error.frame == Frame(last, 9, "b")


@pytest.mark.parametrize(
    "noise",
    [
        "2026-11-22 09:49:51,558 INFO done, leaving",
        "[W1122 09:50:04.24 ProcessGroup.cpp:12] the process group was not destroyed",
        "WARNING: leaving",
        "/usr/lib/python3.11/multiprocessing/resource_tracker.py:224: UserWarning: leaked semaphores",
        "terminate called without an active exception",
    ],
)
def test_log_lines_after_the_message_are_not_part_of_it(noise: str) -> None:
    error = find_exception(f"{stderr('value_error')}{noise}\nmore\n")
    assert error is not None
    assert error.message == "bad batch 2"


def test_text_is_cleaned_of_colours_bars_and_control_characters() -> None:
    text = "\x1b[1;31mred\x1b[0m\r\n 10%\r 90%\r100% done\n\x1b]0;title\x07bell\x07 and tab\there\n"
    assert clean(text) == ["red", "100% done", "bell and tab\there", ""]
