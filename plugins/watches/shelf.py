"""Where the workers' files of output are, how long they are, and where stacks are put beside them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from launcher_core.model.logs import LogsDest
from launcher_core.runtime.looking import folder_of

NAME = "hang_stacks.txt"


def output(dest: LogsDest, local_rank: int) -> tuple[int, ...]:
    """The sizes of the files that a worker's streams are written to; 0 where there is none."""
    return tuple(_size(paths.get(local_rank, "")) for paths in (dest.stdouts, dest.stderrs))


def _size(path: str) -> int:
    if not path or path == os.devnull:
        return 0
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def keep(dest: LogsDest, log_dir: str, lines: Sequence[str]) -> str:
    """Add the lines to a file beside the workers' own, if those are kept; its path, "" for none."""
    folder = folder_of(dest._replace(error_files={}))
    if not folder and log_dir and log_dir != os.devnull:
        folder = folder_of(dest)
    if not folder:
        return ""
    path = os.path.join(folder, NAME)
    with suppress(OSError), open(path, "a", encoding="utf-8") as file:
        file.write("\n".join([*lines, "", ""]))
        return path
    return ""
