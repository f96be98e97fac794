"""Mutated frames over both protocols: no exception but the one that costs the sender its connection, nothing left
behind, no hang, and honest clients that do not notice.

A tenth goes through a real port, with honest clients on it; the rest straight into the sessions behind it. A failing
stream is named by its number: `LAUNCHER_FUZZ_SEED` and that make it again.
"""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from random import Random

import hostile
import pytest
from hostile import Membership, Stream, feed, feed_guest

from launcher_core.model.news import Formed, Over
from launcher_plugins.c10d_store.service import StoreService

BATCH = 1000
"""Frames after which everything is looked over."""
KEPT = 1024 * 1024
"""Bytes that a whole run may leave behind: caches of the interpreter, nothing that grows."""
pytestmark = pytest.mark.timeout(120 + int(os.environ.get("LAUNCHER_FUZZ_FRAMES", "0")) // 200)


def run(seed: str, frames: int, make: Callable[[Random], Stream], take: Callable[[list[bytes]], object]) -> None:
    """Send that many frames; what goes wrong says with which stream."""
    sent = number = 0
    while sent < frames:
        pieces, count = make(Random(f"{seed} {number}"))
        try:
            take(pieces)
        except Exception as error:
            error.add_note(f"stream {number}: {[piece[:200] for piece in pieces][:20]}")
            raise
        sent += count
        number += 1


def batches(seed: str, frames: int, make: Callable[[Random], Stream], fresh: Callable[[], tuple]) -> None:
    """The same, in batches: `fresh` gives what takes the streams of one, and what has to hold after it."""
    for batch in range(max(1, frames // BATCH)):
        take, check = fresh()
        run(f"{seed} {batch}", BATCH, make, take)
        check()


def a_store():
    service = StoreService()
    honest = service.open(hostile.Sink())

    def check() -> None:
        assert not service._space._waits and not service._space._awaited
        honest.receive(hostile.mutation.wire.HELLO)

    return lambda pieces: feed(service, pieces), check


def members(**how):
    job = Membership(**how)
    return lambda pieces: feed(job.coordinator, pieces), job.check


def test_a_store_takes_anything(seed, frames):
    batches(seed, frames * 3 // 10, hostile.store_stream, a_store)


def test_a_coordinator_takes_anything_from_strangers(seed, frames):
    batches(seed, frames * 2 // 10, hostile.stranger_stream, lambda: members(token=hostile.TOKEN))


def test_a_coordinator_takes_anything_from_members_and_a_seat_is_kept(seed, frames):
    batches(seed, frames * 2 // 10, hostile.member_stream, members)


def test_a_coordinator_of_a_job_that_grows_and_shrinks_takes_anything_from_its_members(seed, frames):
    def crowd():
        here = hostile.Crowd()
        return here.take, here.check

    batches(seed, frames // 10, hostile.member_stream, crowd)


def test_an_agent_takes_anything_from_a_host(seed, frames):
    run(seed, frames // 10, hostile.host_stream, feed_guest)


def test_nothing_is_left_behind(seed):
    """Everything twice: the first fills the interpreter's caches, the second must not need more."""

    def everything() -> None:
        batches(seed, BATCH, hostile.store_stream, a_store)
        batches(seed, BATCH, hostile.stranger_stream, lambda: members(token=hostile.TOKEN))
        batches(seed, BATCH, hostile.member_stream, members)
        run(seed, BATCH, hostile.host_stream, feed_guest)

    everything()
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        everything()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < KEPT
    finally:
        tracemalloc.stop()


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_honest_clients_of_a_port_do_not_notice(seed, frames):
    makes = (hostile.store_stream, hostile.stranger_stream)
    with hostile.town() as here:
        start = len(os.listdir("/proc/self/fd")), here.connections()
        sizes, pairs = [], here.pairs
        for part in range(4):
            chance = Random(f"{seed} {part}")
            run(
                f"{seed} {part}",
                frames // 40,
                lambda random: random.choice(makes)(random),
                lambda pieces, chance=chance: hostile.send(here, chance, pieces),
            )
            assert here.connections() == start[1]
            assert here.pairs > pairs
            pairs = here.pairs
            sizes.append(resident())
        assert (len(os.listdir("/proc/self/fd")), here.errors) == (start[0], [])
        assert sizes[-1] - sizes[0] < 64 * 1024 * 1024
        assert [type(news) for news in here.end()] == [Formed, Over]
        assert here.news[-1] == Over(True, "all workers succeeded")
