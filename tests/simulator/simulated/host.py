"""The coordinator's process: the real Coordinator on a port that is made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launcher_core.hooks.ports import Service
from launcher_core.rules.guest import ANSWER_WITHIN
from launcher_core.rules.round import Change
from launcher_core.runtime.coordinator import AgentSession, Coordinator, Terms
from simulated.network import End, Link
from simulated.world import Process, Timer


class Watched(Coordinator):
    """A Coordinator whose every change is looked at."""

    def __init__(self, server: Port, terms: Terms, look: Any, clock: Callable[[], float]) -> None:
        self.look = look
        super().__init__(server, None, terms, None, clock)

    def change(self, change: Change) -> None:
        """As the real one."""
        before = self._round
        super().change(change)
        self.look.changed(self, before, change)


class Port:
    """The Server that a Coordinator needs, and its process."""

    port = 29400

    def __init__(self, process: Process) -> None:
        self.process = process
        self.service: Coordinator | None = None
        self.peers: dict[PortPeer, None] = {}
        self.silent = False
        """Whether new connections lead to nobody."""
        self.tried_again_at = 0.0
        """When the last agent that was not answered has given that connection up."""

    def call(self, function: Callable[[], object]) -> bool:
        """Have this run soon."""
        self.process.soon(function)
        return True

    def call_at(self, when: float, function: Callable[[], object]) -> Timer:
        """Have this run at that time."""
        return self.process.at(when, function)

    def cancel(self, alarm: Timer) -> None:
        """Take it back."""
        alarm.function = None

    def replace(self, old: Service | None, new: Service) -> None:
        """There is one service."""

    def hear(self) -> None:
        """Have new connections served again; those of the silence lead to nobody for ever."""
        self.silent = False

    def move(self, process: Process) -> None:
        """Be served by another process, which knows nothing of the connections to the first."""
        self.process, self.service = process, None
        self.peers.clear()

    def accept(self, link: Link) -> None:
        """Serve a connection."""
        if self.silent and not link.local:
            self.tried_again_at = self.process.world.now + ANSWER_WITHIN
            return
        peer = PortPeer(self, link.host, link.name)
        self.peers[peer] = None

    def stop(self) -> None:
        """Close every connection."""
        for peer in list(self.peers):
            peer.drop()


class PortPeer:
    """A Peer: what serving.py does with one connection."""

    def __init__(self, port: Port, end: End, address: str) -> None:
        self.address = address
        self.torn = False
        self._port = port
        self._end = end
        self._session: AgentSession | None = None
        self._closing = self._closed = False
        end.on_data, end.on_end = self._take, self._ended

    def send(self, data: bytes) -> None:
        """Queue bytes for the client."""
        if not self._closing:
            self._end.send(data)

    def close(self) -> None:
        """Drop the connection soon."""
        if not self._closing:
            self._closing = True
            self._port.process.world.after(0.0, lambda: self._port.process.soon(self.drop))

    def drop(self) -> None:
        """Close the connection now, and tell the session."""
        if self._closed:
            return
        self._closing = self._closed = True
        self._port.peers.pop(self, None)
        self._end.close()
        if self._session is not None:
            self._session.lost()

    def _ended(self) -> None:
        self.torn = self._end.torn
        self.drop()

    def _take(self, data: bytes) -> None:
        service = self._port.service
        if self._closing or service is None:
            return
        try:
            if self._session is None:
                if not service.claims(data[:8]):
                    raise ValueError(data)
                self._session = service.open(self)
            self._session.receive(data)
        except ValueError:
            self.drop()
