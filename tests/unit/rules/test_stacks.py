"""Stacks as they are printed, read and folded."""

from __future__ import annotations

from typing import Any

import pytest

from launcher_core.rules.stacks import (
    DEEPEST,
    Call,
    Fold,
    Stack,
    brief,
    fold,
    from_faulthandler,
    from_json,
    from_py_spy,
    lines,
    place_text,
    to_json,
)

STEP = Call("step", "/home/user/train.py", 41)
MAIN = Call("<module>", "/home/user/train.py", 50)
REDUCE = Call("all_reduce", "/venv/lib/python3.11/site-packages/torch/distributed/c10d.py", 2803)
WAIT = Call("wait", "/usr/lib/python3.11/threading.py", 331)
DEEP = Stack((REDUCE, STEP, MAIN), source="faulthandler")
LOAD = Stack((Call("load", "/home/user/data.py", 7), MAIN), ((WAIT,),), "faulthandler")


TWO_THREADS = """\
Thread 0x00007f12a4b5e6c0 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 331 in wait

Current thread 0x00007f12a5f2a740 (most recent call first):
  File "/home/user/data.py", line 7 in load
  File "/home/user/train.py", line 50 in <module>
"""


def test_the_main_thread_is_the_one_that_took_the_signal() -> None:
    assert from_faulthandler(TWO_THREADS) == LOAD


def test_where_none_took_it_the_last_thread_is_the_main_one() -> None:
    assert from_faulthandler(TWO_THREADS.replace("Current thread", "Thread")) == LOAD


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('Current thread 0x1 (most recent call first):\n  File "a.py", line ??? in f', (Call("f", "a.py", 0),)),
        ('Current thread 0x1 [name] (most recent call first):\n  File "a b.py", line 3 in <lambda>',
         (Call("<lambda>", "a b.py", 3),)),
        ("Current thread 0x1 (most recent call first):\n  <no Python frame>", ()),
        ('Current thread 0x1 (most recent call first):\n  File "a.py", line 1 in f\n  File "b.p',
         (Call("f", "a.py", 1),)),
    ],
)  # fmt: skip
def test_odd_dumps_are_read_as_far_as_they_go(text: str, calls: tuple[Call, ...]) -> None:
    assert from_faulthandler(text) == Stack(calls, source="faulthandler")


@pytest.mark.parametrize("text", ["", "Segmentation fault", '  File "a.py", line 1 in f'])
def test_what_is_no_dump_is_said_to_be_none(text: str) -> None:
    assert from_faulthandler(text) == Stack(source="faulthandler", note="the dump holds no thread")


def _thread(number: int, *calls: Call, name: str = "") -> dict[str, Any]:
    frames = [{"name": one.function, "filename": one.file, "line": one.line} for one in calls]
    return {"os_thread_id": number, "thread_name": name, "frames": frames}


def test_py_spys_main_thread_is_the_one_with_the_processs_number() -> None:
    threads = [_thread(7, *LOAD.calls), _thread(9, WAIT)]
    assert from_py_spy(threads, 7) == LOAD._replace(source="py-spy")


def test_native_code_without_a_name_is_the_same_in_all_processes() -> None:
    one, two = (from_py_spy([_thread(7, STEP, Call(name, "libc.so.6", 0))], 7) for name in ("0x7f1c", "0x7f2a"))
    assert one == two == Stack((STEP, Call("?", "libc.so.6", 0)), source="py-spy")


@pytest.mark.parametrize("found", [None, {}, [], "text", [1, None]])
def test_what_py_spy_never_prints_is_no_stack(found: Any) -> None:
    assert from_py_spy(found, 7).calls == ()


@pytest.mark.parametrize("frames", [None, [], [None, 3]])
def test_a_thread_of_py_spys_may_have_no_frames(frames: Any) -> None:
    assert from_py_spy([{"frames": frames}], 7) == Stack(source="py-spy")


# --- folding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stack", "text"),
    [
        (DEEP, "in all_reduce, train.py:41"),
        (LOAD, "in load, data.py:7"),
        (
            Stack((Call("poll", "/usr/lib/libc.so.6", 0), Call("select_select", "select.c", 3), STEP)),
            "in poll, train.py:41",
        ),
        (Stack((Call("f", "<stdin>", 1),)), "in f, <stdin>:1"),
        (Stack((WAIT,)), "in wait, threading.py:331"),
        (Stack((Call("f", "a.py", 0),)), "in f, a.py:?"),
        (Stack(note="sleeping in futex_wait"), "sleeping in futex_wait"),
    ],
)
def test_a_place_is_the_innermost_function_and_the_users_own_line(stack: Stack, text: str) -> None:
    assert place_text(stack) == text


def test_who_stands_apart_comes_first() -> None:
    stacks = {rank: DEEP for rank in (0, 1, 2, 4, 5, 6, 7)} | {3: LOAD}
    assert fold(stacks) == (Fold((3,), LOAD), Fold((0, 1, 2, 4, 5, 6, 7), DEEP))


def test_another_line_is_another_place() -> None:
    elsewhere = DEEP._replace(calls=(REDUCE, STEP._replace(line=42), MAIN))
    assert [one.ranks for one in fold({0: DEEP, 1: elsewhere, 2: DEEP})] == [(1,), (0, 2)]


def test_other_threads_count_too() -> None:
    assert len(fold({0: LOAD, 1: LOAD._replace(others=())})) == 2


def test_what_is_printed_has_the_place_first_and_the_stack_below() -> None:
    assert lines(fold({0: DEEP, 1: DEEP, 2: LOAD})) == [
        "rank 2: in load, data.py:7",
        "    load (/home/user/data.py:7)",
        "    <module> (/home/user/train.py:50)",
        "    another thread (1 of 1):",
        "        wait (/usr/lib/python3.11/threading.py:331)",
        "ranks 0-1: in all_reduce, train.py:41",
        "    all_reduce (/venv/lib/python3.11/site-packages/torch/distributed/c10d.py:2803)",
        "    step (/home/user/train.py:41)",
        "    <module> (/home/user/train.py:50)",
    ]


def test_in_brief_there_is_a_line_for_each_place_and_no_more_than_so_many() -> None:
    asleep = Stack(source="/proc", note="sleeping in poll (no Python stack: nobody offers one)")
    folds = fold({0: DEEP, 1: DEEP, 2: LOAD, 3: LOAD._replace(others=()), 4: asleep, 5: asleep})
    load, sleeping = "ranks 2-3: in load, data.py:7", "ranks 4-5: sleeping in poll"
    assert brief(folds, 6) == (load, "ranks 0-1: in all_reduce, train.py:41", sleeping)
    assert brief(folds, 1) == (load, "and ranks 0-1, 4-5")
    assert brief((), 6) == ()


def test_a_runaway_recursion_is_cut() -> None:
    shown = lines([Fold((0,), Stack((STEP,) * (DEEPEST + 5)))])
    assert (len(shown), shown[-1]) == (DEEPEST + 2, "    ... 5 more")


@pytest.mark.parametrize("stack", [DEEP, LOAD, Stack(note="x")])
def test_a_stack_survives_json(stack: Stack) -> None:
    import json

    assert from_json(json.loads(json.dumps(to_json(stack)))) == stack
