"""Keeps leases of etcd alive, in a thread of its own: this node's, and the one that the shared state hangs on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from time import monotonic

from launcher_core.errors import LauncherError
from launcher_plugins.etcd.gateway import Gateway
from launcher_plugins.etcd.wire import Refused

BEATS = 6
"""Signs of life within the time of a lease."""
RETRY = 0.05
"""Seconds from a sign of life that nobody answered to the next: time is short then."""
STATE_TIMES = 10
"""The state outlives its last keeper for this many times the time of a node's lease."""
NOT_FOUND = 5
"""gRPC's code for a lease that is gone."""
NEVER = float("-inf")


class Leases:
    """`gone` is called, by any thread, once this node's lease is known to have ended."""

    def __init__(self, gateway: Gateway, ttl: float, gone: Callable[[], None]) -> None:
        self._gateway = gateway
        self._ttl = ceil(ttl)
        self._gone = gone
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.node = 0
        """The id of this node's lease; 0 when there is none."""
        self.state = 0
        """The id of the lease that this node's writings of the state hang on."""
        self.tended: Callable[[], int] = lambda: self.state
        """Which lease of a state is to be kept, too."""
        self.seconds = float(self._ttl)
        self._since = NEVER

    @property
    def held_since(self) -> float:
        """When the newest answered sign of life had been sent; minus infinity without a lease."""
        return self._since

    def hold(self) -> int:
        """This node's lease; a new one where there is none, or only one that was to be revoked."""
        if not self.node or self._since == NEVER:
            sent = monotonic()
            answer = self._gateway.call("/v3/lease/grant", {"TTL": self._ttl})
            with self._lock:
                self.node, self.seconds, self._since = int(answer["ID"]), float(answer["TTL"]), sent
            self._start()
        return self.node

    def hold_state(self) -> int:
        """This node's lease for the state; a new one where there is none."""
        if not self.state:
            self.state = int(self._gateway.call("/v3/lease/grant", {"TTL": self._ttl * STATE_TIMES})["ID"])
            self._start()
        return self.state

    def lose(self, lease: int) -> None:
        """Take note that this lease, which was this node's, has ended."""
        with self._lock:
            if lease != self.node or not lease:
                return
            self.node, self._since = 0, NEVER
        self._gone()

    def revoke(self) -> None:
        """End this node's lease, and what hangs on it, now."""
        lease, self._since = self.node, NEVER
        if lease:
            self._end(lease)
            self.node = 0

    def revoke_state(self) -> None:
        """End the lease that this node's writings of the state hang on."""
        lease, self.state = self.state, 0
        if lease:
            self._end(lease)

    def stop(self) -> None:
        """End the thread, once the gateway has been stopped. Leases end by themselves."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5.0)

    def _end(self, lease: int) -> None:
        try:
            self._gateway.call("/v3/lease/revoke", {"ID": lease})
        except Refused as error:
            if error.code != NOT_FOUND:
                raise

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="etcd-lease", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        rounds, pause = 0, self.seconds / BEATS
        while not self._stop.wait(pause):
            rounds += 1
            pause = RETRY
            with suppress(LauncherError):  # not reached, or not let in: the lease runs on, and may run out
                self._beat()
                if rounds % BEATS == 0:
                    self._tend()
                pause = self.seconds / BEATS

    def _beat(self) -> None:
        lease = self.node
        if not lease or self._since == NEVER:
            return
        sent = monotonic()
        if not self._alive(lease):
            self.lose(lease)
            return
        with self._lock:
            if self.node == lease and self._since != NEVER:
                self._since = sent

    def _tend(self) -> None:
        lease = self.tended()
        if lease and not self._alive(lease) and lease == self.state:
            self.state = 0

    def _alive(self, lease: int) -> bool:
        """Renew a lease; False when it is gone."""
        answer = self._gateway.call("/v3/lease/keepalive", {"ID": lease}, urgent=True)
        return int((answer.get("result") or {}).get("TTL", 0)) > 0
