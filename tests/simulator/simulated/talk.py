"""An agent's conversation, as runtime/conversation.py holds it: the real Guest on connections that are made up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from launcher_core.errors import LauncherError, RendezvousTimeoutError
from launcher_core.model.news import News, Trouble
from launcher_core.rules.guest import NEVER, Guest, Stage, Where
from launcher_core.runtime.conversation import CONNECT_WITHIN, RECONNECT_WITHIN, RETRY
from simulated.host import Port
from simulated.network import Link, Network
from simulated.world import Process, Timer

Order = Callable[[Guest, float], object]


class Talk:
    """Connects, talks, connects again; what it is told goes to `tell`."""

    def __init__(
        self,
        network: Network,
        process: Process,
        port: Port,
        where: Where,
        name: str,
        tell: Callable[[News], object],
        look: Any,
    ) -> None:
        self.guest = Guest(where)
        self.link: Link | None = None
        self.over = False
        self.on_over: Callable[[], object] = lambda: None
        self.connecting = False
        self._network = network
        self.process = process
        self._port = port
        self._name = name
        self._tell = tell
        self._look = look
        self._orders: deque[Order] = deque()
        self._closing = False
        self._give_up = process.clock() + where.join_timeout
        self._timer: Timer | None = None
        self._local = port.process is process

    def start(self) -> None:
        """Begin to connect."""
        self._guarded(self._connect)

    def ask(self, order: Order) -> None:
        """Have this done with the guest."""
        self._orders.append(order)
        self._wake()

    def close(self) -> None:
        """Send what is queued and end."""
        self._closing = True
        self._wake()

    def _wake(self) -> None:
        if self.over or self.connecting:
            return
        self._guarded(self._converse if self.link is not None else self._connect)

    def _guarded(self, act: Callable[[], object]) -> None:
        try:
            act()
        except LauncherError as error:
            self._end()
            self._tell(Trouble(error))

    def _end(self) -> None:
        self._set_timer(NEVER)
        self._hang_up()
        if not self.over:
            self.over = True
            self.on_over()

    def _hang_up(self) -> None:
        if self.link is not None:
            self.link.guest.close()
            self._network.forget(self.link)
            self.link = None

    def _obey(self) -> bool:
        while self._orders:
            self._orders.popleft()(self.guest, self.process.clock())
        return not self._closing

    # --- apart ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._set_timer(NEVER)
        if not self._obey() or self.guest.stage is Stage.ENDED:
            self._end()
            return
        self.connecting = True
        within = RECONNECT_WITHIN if self.guest.known else CONNECT_WITHIN
        self._network.connect(self._name, self.process, self._port.process, self._local, within, self._connected)

    def _connected(self, link: Link | None) -> None:
        self.connecting = False
        self._guarded(partial(self._reached, link))

    def _reached(self, link: Link | None) -> None:
        guest, now = self.guest, self.process.clock()
        if link is not None:
            self.link = link
            link.guest.on_data = lambda data: self._guarded(partial(self._receive, link, data))
            link.guest.on_end = lambda: self._guarded(partial(self._broke, link))
            self._port.accept(link)
            self._look.reached(self)
            guest.connected(now)
            self._converse()
            return
        if guest.known:
            self._pass_on(guest.tick(now))
        elif now >= self._give_up:
            raise RendezvousTimeoutError("nobody answers")
        self._set_timer(now + RETRY)

    # --- connected --------------------------------------------------------------------------------------

    def _converse(self) -> None:
        guest, link = self.guest, self.link
        assert link is not None
        going = self._obey()
        if going or guest.stage is Stage.HEARD:
            self._pass_on(guest.tick(self.process.clock()))
        if guest.stage is Stage.APART:
            self._hang_up()
            self._connect()
            return
        link.guest.send(bytes(guest.outbox))
        guest.outbox.clear()
        if not going or guest.stage is Stage.ENDED:
            guest.stage = Stage.ENDED
            self._end()
            return
        self._set_timer(guest.alarm)

    def _receive(self, link: Link, data: bytes) -> None:
        if link is self.link:
            now, guest = self.process.clock(), self.guest
            lease = max(guest._alive_at, guest._asked_at) + guest.where.silence
            news = self.guest.receive(data, now, "nonce")
            self._look.told(self._name, news, now >= lease)
            self._pass_on(news)
            self._converse()

    def _broke(self, link: Link) -> None:
        if link is self.link:
            self._pass_on(self.guest.broke("it closed the connection", self.process.clock()))
            self._converse()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.function = None
            self._timer = None
        if when < NEVER:
            self._timer = self.process.at(when, self._wake)

    def _pass_on(self, news: list[News]) -> None:
        for one in news:
            self._tell(one)
