"""Answers to what was asked of the launcher itself: text on stdout."""

from __future__ import annotations

from launcher_core.errors import LauncherError


def answer(text: str) -> None:
    """Print the text. Raises LauncherError when stdout does not take it; BrokenPipeError when nobody reads it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise LauncherError(f"the answer could not be written to stdout: {error.strerror}") from error
