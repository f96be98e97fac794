"""Registers in memory, seen by each node through a view of its own that can be cut off or lose an answer."""

from __future__ import annotations

from typing import Any


class Cut(OSError):
    """The backend cannot be reached."""


class Memory:
    """What the nodes share. Entries end `lease` seconds after their node's last sign of life."""

    def __init__(self, world: Any, lease: float) -> None:
        self.world = world
        self.lease = lease
        self.state: tuple[bytes, int] | None = None
        self.entries: dict[str, bytes] = {}
        self.alive: dict[str, float] = {}
        self.writes = 0
        self.down = 0
        """How many times over it is down; no lease ends meanwhile."""

    def start_again(self) -> None:
        """Be there again. Leases then run anew, as if each node had just given a sign of life."""
        self.down -= 1
        self.alive = dict.fromkeys(self.alive, self.world.now)

    def swap(self, state: bytes, token: int | None) -> bool:
        """Replace the state, if that is still its token."""
        if token != (None if self.state is None else self.state[1]):
            return False
        self.writes += 1
        self.state = state, self.writes
        self.world.changed()
        return True

    def expire(self) -> None:
        """Take away the entries whose nodes have been silent for too long."""
        for id, since in list(self.alive.items()):
            if self.world.now > since + self.lease:
                self.drop(id)

    def drop(self, id: str) -> None:
        """Take away one entry."""
        if self.entries.pop(id, None) is not None:
            del self.alive[id]
            self.world.changed()


class View:
    """One node's way to the register. `reachable` and `answered` are set by faults."""

    name = "memory"

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.reachable = True
        self.answered = True
        """Whether the answer to the next swap comes back."""

    def _reach(self) -> Memory:
        if not self.reachable or self.memory.down:
            raise Cut("cut off")
        self.memory.expire()
        return self.memory

    def get_state(self) -> tuple[bytes, int] | None:
        return self._reach().state

    def set_state(self, state: bytes, token: int | None = None) -> tuple[bytes, int, bool] | None:
        memory = self._reach()
        done = memory.swap(state, token)
        if not self.answered:
            self.answered = True
            raise Cut("no answer")
        return None if memory.state is None else (*memory.state, done)


class LeasedView(View):
    """With an entry."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.id = ""
        self.sent = float("-inf")

    def beat(self) -> None:
        """Give a sign of life, as the backend does by itself; learn from it whether the entry is gone."""
        if self.id and self.reachable and not self.memory.down:
            memory = self._reach()
            known = self.id in memory.entries
            self.sent = memory.world.now if known else float("-inf")
            if known:
                memory.alive[self.id] = memory.world.now

    def enter(self, id: str, entry: bytes) -> None:
        memory = self._reach()
        self.id = id
        memory.entries[id] = entry
        memory.alive[id] = self.sent = memory.world.now
        memory.world.changed()

    def held_since(self) -> float:
        return self.sent

    def leads(self) -> bool:
        return next(iter(self._reach().entries), None) == self.id

    def entries(self) -> dict[str, bytes]:
        return dict(self._reach().entries)

    def withdraw(self) -> None:
        memory = self._reach()
        memory.drop(self.id)
        self.sent = float("-inf")
        if not memory.entries:
            memory.state = None
