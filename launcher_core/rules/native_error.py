"""Finds what native code said of its own end: the C++ exception, the assertion, what the allocator found.

Only what is printed by the C and C++ libraries themselves, in their words; refuses to guess from anything else.
"""

from __future__ import annotations

import re

from launcher_core.rules.python_error import clean

LINES = 60
"""How far from the end it may stand: a crash handler prints its own stack after it."""

_THROWN = re.compile(r"terminate called after throwing an instance of '(.*)'$")
_WHAT = re.compile(r"  what\(\):  (.*)$")
_SAID = re.compile(
    r"(?:(?:free|malloc|realloc|calloc|munmap_chunk|malloc_consolidate|_int_free)\(\): .+"
    r"|(?:double free or corruption|corrupted size vs\. prev_size|corrupted double-linked list).*"
    r"|\*\*\* stack smashing detected \*\*\*.*|\*\*\* buffer overflow detected \*\*\*.*"
    r"|terminate called (?:without an active exception|recursively)|pure virtual method called"
    r"|.*: Assertion `.*' failed\.)$"
)


def native_error(text: str) -> str:
    """The last such words in the end of what a process printed, as one line; "" when there are none."""
    lines = clean(text)[-LINES:]
    for at in range(len(lines) - 1, -1, -1):
        thrown = _THROWN.search(lines[at])
        if thrown:
            what = _WHAT.search(lines[at + 1]) if at + 1 < len(lines) else None
            return f"{thrown[1]}: {what[1]}" if what else thrown[1]
        said = _SAID.match(lines[at])
        if said:
            return said[0].strip()
    return ""
