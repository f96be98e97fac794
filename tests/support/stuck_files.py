"""A file system whose files are never found, nor said to be missing: who looks one up cannot be killed meanwhile.

Linux has a process that waits for an answer of a FUSE server, which has taken the question in, sleep in state D.
Needs root.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
from pathlib import Path

import pytest

_HEADER = struct.Struct("=IIQQIIII")  # length, opcode, unique, node, uid, gid, pid, extensions
_ANSWER = struct.Struct("=IiQ")  # length, error, unique
_INIT = struct.Struct("=IIIIHHIIHHI28x")
_LOOKUP, _INIT_CODE = 1, 26
_DETACH = 2


class StuckFiles:
    """Mounted at a directory; `close` lets everybody go."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where there is no FUSE."""
        folder.mkdir()
        self.folder = folder
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self._libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        if self._libc.mount(b"stuck", os.fsencode(folder), b"fuse", 0, options):
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "mount of a FUSE file system")
        unique = self._taken(_INIT_CODE)
        body = _INIT.pack(7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, 0)
        os.write(self._fd, _ANSWER.pack(_ANSWER.size + len(body), 0, unique) + body)

    def wait(self, seconds: float = 60.0) -> None:
        """Until somebody looks a file up, and is stuck."""
        self._taken(_LOOKUP, seconds)

    def close(self) -> None:
        """Let everybody go."""
        os.close(self._fd)
        self._libc.umount2(os.fsencode(self.folder), _DETACH)

    def _taken(self, opcode: int, seconds: float = 60.0) -> int:
        """The number of the next question of this kind."""
        while select.select([self._fd], [], [], seconds)[0]:
            data = os.read(self._fd, 1 << 20)
            _, code, unique, *_ = _HEADER.unpack_from(data)
            if code == opcode:
                return int(unique)
        raise TimeoutError(f"no question of kind {opcode} came in {seconds} s")


def stuck_files(folder: Path) -> StuckFiles:
    """Such a file system; skips the test where none can be mounted."""
    try:
        return StuckFiles(folder)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
