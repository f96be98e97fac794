"""What a plugin can do, declared by the plugin and checked before anything starts."""

from __future__ import annotations

from enum import Flag, auto


class Capability(Flag):
    """One bit for each promise that a plugin may make."""

    NONE = 0
    ELASTIC = auto()
    """Nodes may come and go between --nnodes MIN and MAX."""
    RANKS_FIXED = auto()
    """Every node is given its rank by the user and keeps it."""
    SHARES_STORE = auto()
    """The agents serve the store that workers meet at."""
    SURVIVES_HOST_LOSS = auto()
    """The job goes on when the node that hosts the rendezvous is lost."""
    PUSHES = auto()
    """Membership changes are told at once; nobody polls for them."""
    WATCH = auto()
    """(register) Tells of changes, as a WatchedBackend does."""
    LEASE = auto()
    """(register) Keeps an entry for each node that ends with it, as a LeasedBackend does."""
    FUNCTIONS = auto()
    """(start method) Starts Python functions."""
    COMMANDS = auto()
    """(start method) Starts commands."""
