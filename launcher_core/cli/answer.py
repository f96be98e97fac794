"""Answers to what was asked of the launcher itself: text on stdout."""

from __future__ import annotations

import sys

from launcher_core.errors import LauncherError


def answer(text: str) -> None:
    """Print the text. Raises LauncherError when stdout does not take it; BrokenPipeError when nobody reads it."""
    try:
        print(_writable(text), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LauncherError(f"the answer could not be written to stdout: {error.strerror}") from error


def _writable(text: str) -> str:
    """The text with what the encoding of stdout lacks spelled out: names of files may hold any byte."""
    encoding, errors = getattr(sys.stdout, "encoding", None), getattr(sys.stdout, "errors", None)
    if not encoding:
        return text
    try:
        text.encode(encoding, errors or "strict")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
