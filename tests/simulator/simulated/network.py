"""A network: connections that carry bytes in order, late, in pieces, and break; nodes that are cut off for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from simulated.world import Process, World

Connected = Callable[["Link | None"], object]
"""Takes the new link, or None where there is none."""


class Weather:
    """How bad the network is. Times in seconds."""

    def __init__(self, world: World) -> None:
        self.base = world.random.choice((0.0002, 0.002, 0.02))
        self.jitter = world.random.choice((0.0, 0.002, 0.05))
        self.loss = world.random.choice((0.0, 0.0, 0.01, 0.1))
        self.longest = world.random.choice((0.25, 0.5, 3.0))
        """What one lost packet costs at most."""
        self.split = world.random.choice((0.0, 0.1, 0.5))


class Network:
    """All connections, and who is cut off."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.weather = Weather(world)
        self.cut: set[str] = set()
        """Names of nodes whose packets are lost."""
        self.refusing: set[str] = set()
        """Names of nodes whose attempts to connect are refused."""
        self.links: list[Link] = []
        self._held: list[Pipe] = []

    def delay(self, local: bool) -> float:
        """How long the next piece takes."""
        if local:
            return 0.00005
        world, weather = self.world, self.weather
        late = 0.0 if world.calm or not world.chance(weather.loss) else world.between(0.2, weather.longest)
        return weather.base + world.random.random() * weather.jitter + late

    def hold(self, pipe: Pipe) -> None:
        """Keep what is in the pipe until its node is reached again."""
        self._held.append(pipe)

    def heal(self, names: set[str]) -> None:
        """Have these nodes reached again; what was held up comes when it is sent again."""
        self.cut -= names
        held, self._held = self._held, []
        for pipe in held:
            self.world.after(self.world.between(0.0, 0.2 if self.world.calm else 1.0), pipe.pump)

    def connect(
        self,
        name: str,
        guest: Process,
        host: Process,
        local: bool,
        within: float,
        done: Callable[[Link | None], object],
    ) -> None:
        """Try to connect: `done` gets the link or None, in at most so long."""
        took = 2 * self.delay(local)
        if not host.alive or name in self.refusing:
            guest.after(min(took, within), lambda: done(None))
        elif (name in self.cut and not local) or took > within:
            guest.after(within, lambda: done(None))
        else:  # the kernel takes connections of a frozen process, too
            guest.after(took, lambda: done(self._link(name, guest, host, local) if host.alive else None))

    def _link(self, name: str, guest: Process, host: Process, local: bool) -> Link:
        link = Link(self, name, guest, host, local)
        self.links.append(link)
        return link

    def forget(self, link: Link) -> None:
        """Count it no more among those that can be broken."""
        if link in self.links:
            self.links.remove(link)


class End:
    """One side's socket."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.on_data: Callable[[bytes], object] = lambda data: None
        self.on_end: Callable[[], object] = lambda: None
        self.out: Pipe
        self.closed = False
        self.ended = False
        """Whether the end of the other side's bytes was seen."""
        self.torn = False
        """Whether it was the network that ended it."""
        self.orphaned = False
        """Whether nobody is at the other end any more, which shows when something is sent."""
        process.on_death.append(self.close)

    def send(self, data: bytes) -> None:
        """Hand bytes to the kernel."""
        if not self.closed and data:
            self.out.put(bytes(data))
            if self.orphaned:
                self.out.answer_with_reset(self)

    def close(self) -> None:
        """Close the socket: the other side sees the end behind what was sent."""
        if not self.closed:
            self.closed = True
            self.out.put(None)

    def take(self, data: bytes | None) -> None:
        """Something arrived; None is the end."""
        self.process.soon(lambda: self._taken(data))

    def _taken(self, data: bytes | None) -> None:
        if self.closed or self.ended:
            return
        if data is None:
            self.ended = True
            self.on_end()
        else:
            self.on_data(data)


class Pipe:
    """One direction of a connection."""

    def __init__(self, network: Network, name: str, local: bool, sink: End) -> None:
        self.network = network
        self.lost = False
        """Whether what is sent from now on arrives nowhere."""
        self._name = name
        self._local = local
        self._sink = sink
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._last = 0.0

    def put(self, data: bytes | None) -> None:
        """Send, in pieces perhaps."""
        world = self.network.world
        while data is not None and len(data) > 1 and not self._local and world.chance(self.network.weather.split):
            size = world.random.randrange(1, len(data))
            self._add(data[:size])
            data = data[size:]
        self._add(data)

    def _add(self, data: bytes | None) -> None:
        world = self.network.world
        self._last = max(self._last, world.now + self.network.delay(self._local))
        self._queue.append((self._last, data))
        if len(self._queue) == 1:
            world.after(self._last - world.now, self.pump)

    def answer_with_reset(self, sender: End) -> None:
        """What is sent here has no taker, and the sender is told so."""
        network = self.network
        if self._name not in network.cut:
            network.world.after(2 * network.delay(self._local), lambda: sender.take(None))

    def stall(self, seconds: float) -> None:
        """Let nothing that is sent from now on arrive for so long."""
        self._last = max(self._last, self.network.world.now) + seconds

    def pump(self) -> None:
        """Deliver what is due, unless the node is cut off."""
        world = self.network.world
        while self._queue and self._queue[0][0] <= world.now:
            if self._name in self.network.cut and not self._local:
                self.network.hold(self)
                return
            _, data = self._queue.popleft()
            if not self.lost:
                self._sink.take(data)
        if self._queue:
            world.after(self._queue[0][0] - world.now, self.pump)


class Link:
    """One connection: the guest's end and the host's."""

    def __init__(self, network: Network, name: str, guest: Process, host: Process, local: bool) -> None:
        self.network = network
        self.name = name
        self.local = local
        self.guest, self.host = End(guest), End(host)
        self.guest.out = Pipe(network, name, local, self.host)
        self.host.out = Pipe(network, name, local, self.guest)

    def vanish(self) -> None:
        """The power of the guest's machine fails: no end is ever sent."""
        self.guest.out.lost = self.host.out.lost = True
        self.network.forget(self)

    def snap(self, apart: float, *, guest_first: bool = False) -> None:
        """Something between breaks the connection: one side sees it at once, the other so much later."""
        world = self.network.world
        self.guest.torn = self.host.torn = True
        sides = [self.guest, self.host]
        if not guest_first:
            world.random.shuffle(sides)
        self.guest.out.lost = self.host.out.lost = True
        self.network.forget(self)
        sides[0].take(None)
        world.after(apart, lambda: sides[1].take(None))

    def reset_host(self) -> None:
        """Something between tells the host that the connection is over; the guest learns it when it sends."""
        self.host.torn = self.guest.orphaned = True
        self.guest.out.lost = self.host.out.lost = True
        self.network.forget(self)
        self.host.take(None)
