"""What native code said of its own end."""

from __future__ import annotations

import pytest

from launcher_core.rules.blame import Failed
from launcher_core.rules.native_error import native_error
from launcher_core.rules.story import cause

THROWN = "terminate called after throwing an instance of 'std::length_error'\n  what():  vector::_M_default_append\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (THROWN, "std::length_error: vector::_M_default_append"),
        (f"loading\n{THROWN}Stack:\n" + "  frame\n" * 20, "std::length_error: vector::_M_default_append"),
        ("terminate called after throwing an instance of 'int'\n", "int"),
        ("terminate called without an active exception\n", "terminate called without an active exception"),
        ("free(): double free detected in tcache 2\n", "free(): double free detected in tcache 2"),
        ("python: loader.c:12: load: Assertion `rows > 0' failed.\n",) * 2,
        ("*** stack smashing detected ***: terminated\n",) * 2,
        ("it is free(): really\nfine", ""),
        ("", ""),
    ],
)
def test_the_last_words_of_the_libraries_are_found(text: str, words: str) -> None:
    assert native_error(text) == words.strip()


def test_words_of_long_ago_are_not_the_cause() -> None:
    assert native_error(THROWN + "step\n" * 100) == ""


def test_they_stand_below_the_signal_when_the_process_aborted_itself() -> None:
    failed = Failed(1, 1, 7, -6, 1.0, stderr=THROWN)
    assert cause(failed) == [
        "SIGABRT (signal 6): it aborted itself: a failed assertion or an uncaught C++ exception",
        "std::length_error: vector::_M_default_append",
    ]
    assert cause(failed._replace(exit_code=-9))[1:] == []
