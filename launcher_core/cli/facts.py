"""What the command line needs to know of this machine, in one value; `this_machine` binds the real one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple


class Facts(NamedTuple):
    """The outside world, as far as a request depends on it."""

    environ: Mapping[str, str]
    executable: str
    """The Python interpreter that runs scripts unless PYTHON_EXEC names another."""
    count: Callable[[str], int]
    """How many workers `auto`, `cpu`, `gpu` or `xpu` means here; raises UsageError where there is none."""
    exists: Callable[[str], bool]
    """Whether there is such a file or directory."""
    find_program: Callable[[str], str | None]
    """Where an executable is, by path or on PATH; None when there is none."""
    new_run_id: Callable[[], str]
    """A name that no other job has."""


def this_machine(environ: Mapping[str, str]) -> Facts:
    """The facts of the machine that this process runs on; nothing is looked at before it is asked for."""
    import os
    import sys

    return Facts(
        environ=environ,
        executable=sys.executable,
        count=lambda word: _count(word, environ),
        exists=os.path.exists,
        find_program=lambda name: _find(name, environ.get("PATH", os.defpath)),
        new_run_id=_new_run_id,
    )


def _count(word: str, environ: Mapping[str, str]) -> int:
    from launcher_core.runtime.devices import count

    return count(word, environ)


def _find(name: str, path: str) -> str | None:
    """The first executable file of that name along `path`; a name with a slash is looked for as it stands."""
    import os

    folders = [""] if os.sep in name else path.split(os.pathsep)
    for folder in folders:
        candidate = os.path.join(folder, name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None


def _new_run_id() -> str:
    """A random UUID of version 4 (RFC 9562, section 5.4), spelled out by hand: the module costs 5 ms."""
    import os

    bits = bytearray(os.urandom(16))
    bits[6] = bits[6] & 0x0F | 0x40
    bits[8] = bits[8] & 0x3F | 0x80
    text = bits.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
