"""A switch between TAP devices: a thread carries their frames, and delays, loses or stops them as it is told."""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import threading
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import NamedTuple

TUN = "/dev/net/tun"
TUNSETIFF, TAP, WITHOUT_HEADER = 0x400454CA, 0x0002, 0x1000
PREFIX = b"\x02\0\0\0\0"
"""The first five bytes of every hardware address; the last is the number of the device."""


class Link(NamedTuple):
    """How frames fare in one direction. Times in seconds."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    """The share that is lost; 1: all."""


def hardware_address(number: int) -> str:
    """The address by which the switch knows a device."""
    return f"02:00:00:00:00:{number:02x}"


def open_tap(name: str) -> int:
    """A new TAP device in this network namespace: its descriptor."""
    fd = os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP | WITHOUT_HEADER))
    return fd


class Switch:
    """Carries frames between the devices until it is closed. `links` may be changed at any time."""

    def __init__(self, devices: list[int]) -> None:
        self.links: dict[tuple[int, int], Link] = {}
        """By sender and receiver; where there is none, frames arrive at once."""
        self._devices = devices
        self._late: list[tuple[float, int, int, bytes]] = []
        """Frames that are on their way: (when, order, receiver, frame)."""
        self._order = count()
        self._chance = random.Random(0)
        self._ending, self._end = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="switch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        os.close(self._end)
        self._thread.join()
        os.close(self._ending)

    def _run(self) -> None:
        poll = select.epoll()
        senders = {fd: number for number, fd in enumerate(self._devices)}
        for fd in (self._ending, *senders):
            poll.register(fd, select.EPOLLIN)  # where the other end of the pipe is closed, EPOLLHUP comes unasked
        with poll:
            while True:
                ready = [fd for fd, _ in poll.poll(self._seconds_left())]
                if self._ending in ready:
                    return
                self._deliver_late()
                for fd in ready:
                    self._take(fd, senders[fd])

    def _seconds_left(self) -> float | None:
        return max(0.0, self._late[0][0] - monotonic()) if self._late else None

    def _deliver_late(self) -> None:
        while self._late and self._late[0][0] <= monotonic():
            *_, receiver, frame = heapq.heappop(self._late)
            self._put(receiver, frame)

    def _take(self, fd: int, sender: int) -> None:
        with suppress(BlockingIOError):
            while True:
                frame = os.read(fd, 65536)
                for receiver in self._receivers(frame):
                    if receiver != sender:
                        self._carry(sender, receiver, frame)

    def _receivers(self, frame: bytes) -> range | tuple[int, ...]:
        everybody = range(len(self._devices))
        if frame[0] & 1:
            return everybody
        return (frame[5],) if frame[:5] == PREFIX and frame[5] in everybody else ()

    def _carry(self, sender: int, receiver: int, frame: bytes) -> None:
        link = self.links.get((sender, receiver), Link())
        if self._chance.random() < link.loss:
            return
        late = link.delay + link.jitter * self._chance.random()
        if late:
            heapq.heappush(self._late, (monotonic() + late, next(self._order), receiver, frame))
        else:
            self._put(receiver, frame)

    def _put(self, receiver: int, frame: bytes) -> None:
        with suppress(OSError):  # its queue is full, as may be on any wire
            os.write(self._devices[receiver], frame)
