"""What a fault is: a job that fails, and what is true about it, declared before anything is run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

ANY = -1
"""For a rank: no rank is more to blame than another, and one of them has to be named."""
NODES = ("node0", "node1", "node2", "node3")
NOBODY = None


class Truth(NamedTuple):
    """What went wrong. Where the fault can be read in two ways, `kinds` has both."""

    kinds: tuple[str, ...]
    rank: int | None = NOBODY
    """Global rank of the root; NOBODY where no worker is to blame, ANY where all are alike."""
    says: str = ""
    """Words that the report has to have."""
    node: str = NODES[0]
    """Where; "" where it is no node's."""


class Fault(NamedTuple):
    """A job that fails. `name` says of what, `script` is what its workers run after `from job import *`."""

    name: str
    truth: Truth
    script: str = ""
    workers: int = 3
    """On each node."""
    nodes: int = 1
    options: tuple[str, ...] = ()
    program: tuple[str, ...] = ("fault.py",)
    """What is launched, in the fault's own folder."""
    files: tuple[tuple[str, str], ...] = ()
    """Others beside the script: (name, text); programs where the text begins with #!."""
    acts: Callable[[Any], None] | None = None
    """Done from outside while the job runs, with the Stage."""
    around: Callable[[Any], Any] | None = None
    """A context manager over the Stage, entered before the job starts."""
    hears: tuple[int, ...] | None = None
    """Nodes whose report counts; None for all. A node that is killed has none."""
    joined: bool = True
    """False: nodes have the options as they are, and nothing is said of a rendezvous."""
    api: bool = False
    """The script launches by itself, from Python; there is no command line."""
    networked: bool = False
    """Nodes are network namespaces, with addresses and cables."""
    torchrun: bool = True
    """Whether its script runs under torchrun, too."""

    def text(self) -> str:
        """The script as it is written down."""
        return ("" if self.api else "from job import *\n") + textwrap.dedent(self.script).lstrip("\n")


def one(kind: str, rank: int | None = NOBODY, says: str = "", node: str = NODES[0]) -> Truth:
    """A truth of one class."""
    return Truth((kind,), rank, says, node)
