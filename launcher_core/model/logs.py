"""Where worker output goes: the streams, which of them, and the paths chosen for them."""

from collections.abc import Mapping
from enum import IntFlag
from typing import NamedTuple

_DIGITS = ("0", "1", "2", "3")


class Std(IntFlag):
    """Which of a worker's two output streams are meant."""

    NONE = 0
    OUT = 1
    ERR = 2
    ALL = 3

    @classmethod
    def from_str(cls, text: str) -> "StdChoice":
        """One Std for all local ranks ("3"), or a map from local rank to Std ("0:1,12:3").

        Ranks that a map leaves out have NONE; of a repeated rank the last counts.
        Raises ValueError for any other text.
        """
        if text in _DIGITS:
            return cls(int(text))
        pairs = [item.split(":") for item in text.split(",")]
        if all(len(pair) == 2 and _is_rank(pair[0]) and pair[1] in _DIGITS for pair in pairs):
            return {int(rank): cls(int(streams)) for rank, streams in pairs}
        raise ValueError(
            f"{text!r} names no streams: write one digit for all local ranks (0 none, 1 stdout, "
            "2 stderr, 3 both) or RANK:DIGIT pairs, e.g. 0:3,1:2"
        )


def _is_rank(text: str) -> bool:
    """Whether this is a number, and not one of the thousands of digits that Python refuses to read."""
    return text.isdecimal() and text.isascii() and len(text) < 1000


StdChoice = Std | Mapping[int, Std]


def to_map(choice: StdChoice, local_world_size: int) -> dict[int, Std]:
    """The choice spelled out for every local rank; NONE for those that it leaves out."""
    if isinstance(choice, Std):
        return dict.fromkeys(range(local_world_size), choice)
    return {rank: choice.get(rank, Std.NONE) for rank in range(local_world_size)}


class LogsDest(NamedTuple):
    """Paths for one start of a worker group, keyed by local rank. Torch elastic's shape.

    An empty path in `stdouts` or `stderrs` means the console. The tee maps name the files whose lines are
    shown on the console too; `error_files` the files that workers record an exception in.
    """

    stdouts: Mapping[int, str] = {}
    stderrs: Mapping[int, str] = {}
    tee_stdouts: Mapping[int, str] = {}
    tee_stderrs: Mapping[int, str] = {}
    error_files: Mapping[int, str] = {}
    filtered_stdout: str = ""
    filtered_stderr: str = ""
