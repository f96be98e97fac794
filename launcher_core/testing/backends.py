"""The contract of a register that nodes meet over: compare-and-swap, and where it is promised, WATCH and LEASE."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

from launcher_core.model.capability import Capability
from launcher_core.testing.contract import Contract, Thread, outcome
from launcher_core.testing.shared import SharedJobs

THREADS = 4
INCREMENTS = 25
MEGABYTE = bytes(range(256)) * 4096


class Member:
    """One node's object of the register. Attributes and methods are the backend's own."""

    def __init__(self, backend: Any, *, watched: bool, leased: bool) -> None:
        self._backend = backend
        self._leased = leased
        self._watched = watched
        self._closed = False
        self.changed = threading.Event()
        if watched:
            backend.watch(self.changed.set)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def look(self) -> None:
        """Ask what a node asks before it waits to be told of a change: only what it has seen can change for it."""
        self.changed.clear()
        self._backend.get_state()
        if self._leased and self._backend.leads():
            self._backend.entries()

    def close(self) -> None:
        """Close the backend, once, where it is one that can be closed."""
        if self._watched and not self._closed:
            self._closed = True
            self._backend.close()


class RendezvousBackendContract(SharedJobs):
    """A plugin whose `launcher_make_rendezvous` returns a RendezvousBackend.

    Fixture `make_backend`: a function from a run id to the backend of one more node of that run. All that it returns
    for one run id share one register; it is called for many nodes. With LEASE, have leases of a second or two.
    A node looks before it waits to be told, and whenever it was told: what nobody has looked at need not be watched.
    """

    @pytest.fixture
    def make_backend(self) -> Callable[[str], Any]:
        """Makes the backend of one more node, for a run id."""
        raise NotImplementedError("give a fixture make_backend: a function from a run id to a new RendezvousBackend")

    @pytest.fixture
    def run_id(self) -> str:
        """A job that nobody has heard of."""
        return f"kit-{uuid4().hex[:12]}"

    @pytest.fixture
    def node(self, make_backend: Callable[[str], Any], run_id: str) -> Iterator[Callable[..., Member]]:
        """Makes one more node of this test's run, or of another, and closes it after the test."""
        made: list[Member] = []
        watched = self.can(Capability.WATCH)

        def make(run: str = run_id) -> Member:
            made.append(Member(make_backend(run), watched=watched, leased=self.can(Capability.LEASE)))
            return made[-1]

        yield make
        for one in made:
            one.close()

    def can(self, capability: Capability) -> bool:
        """Whether the plugin promises this; a register with leases tells of changes, too."""
        return super().can(capability) or (capability is Capability.WATCH and super().can(Capability.LEASE))

    # --- the register -----------------------------------------------------------------------------------

    def test_it_has_the_name_it_is_selected_by(self, node: Callable[..., Member]) -> None:
        name = node().name
        assert isinstance(name, str), "`name` has to be the text that --rdzv-backend selects it by"
        assert name, "`name` has to be the text that --rdzv-backend selects it by, and is empty"

    def test_a_fresh_register_is_empty(self, node: Callable[..., Member]) -> None:
        assert node().get_state() is None, "get_state has to return None for a run that nobody has written a state for"

    def test_the_first_swap_with_no_token_sets_the_state(self, node: Callable[..., Member]) -> None:
        backend = node()
        state, token = won(backend.set_state(b"first", None), b"first", "no state was there, and the token was None")
        assert backend.get_state() == (state, token), "get_state has to return the state and the token of the last swap"

    def test_no_token_is_the_default(self, node: Callable[..., Member]) -> None:
        won(node().set_state(b"first"), b"first", "no state was there, and no token was given")

    def test_a_swap_with_the_states_token_replaces_it(self, node: Callable[..., Member]) -> None:
        backend = node()
        _, token = won(backend.set_state(b"one", None), b"one", "no state was there")
        _, token = won(backend.set_state(b"two", token), b"two", "the token came with the swap before")
        won(backend.set_state(b"three", backend.get_state()[1]), b"three", "the token came from get_state")
        assert standing(backend) == b"three", "get_state has to return what was written last"

    def test_a_swap_with_a_stale_token_loses_and_returns_the_truth(self, node: Callable[..., Member]) -> None:
        mine, theirs = node(), node()
        _, stale = won(mine.set_state(b"old", None), b"old", "no state was there")
        won(theirs.set_state(b"new", theirs.get_state()[1]), b"new", "its token was the state's")
        token = lost(mine.set_state(b"lost", stale), b"new", "its token was of a state that has been replaced")
        won(mine.set_state(b"again", token), b"again", "its token came with the truth that a lost swap returned")

    def test_a_swap_with_no_token_loses_where_there_is_a_state(self, node: Callable[..., Member]) -> None:
        mine, theirs = node(), node()
        won(theirs.set_state(b"theirs", None), b"theirs", "no state was there")
        lost(mine.set_state(b"mine", None), b"theirs", "there was a state, and no token means that there is none")

    def test_a_lost_swap_changes_nothing(self, node: Callable[..., Member]) -> None:
        mine, theirs = node(), node()
        _, stale = won(mine.set_state(b"old", None), b"old", "no state was there")
        _, token = won(theirs.set_state(b"new", theirs.get_state()[1]), b"new", "its token was the state's")
        for wrong in (stale, None):
            mine.set_state(b"lost", wrong)
            assert standing(theirs) == b"new", "a swap that lost has to leave the state as it was"
        won(theirs.set_state(b"newer", token), b"newer", "swaps that lost have to leave the state's token as it was")

    def test_a_token_of_another_run_sets_nothing_where_there_is_no_state(self, node: Callable[..., Member]) -> None:
        other, backend = node(f"kit-{uuid4().hex[:12]}"), node()
        _, token = won(other.set_state(b"other", None), b"other", "no state was there")
        result = backend.set_state(b"mine", token)
        assert result is None or not result[2], "a swap with a token has to lose where there is no state"
        assert backend.get_state() is None, "a swap that lost has to leave an empty register empty"

    @pytest.mark.parametrize(
        "state",
        [b"\0", b"a\0b\0", b"\xff\xfe\x80", b"\n\r\n ", bytes(range(256)), MEGABYTE],
        ids=["NUL", "NULs", "no text", "white space", "every byte", "a megabyte"],
    )
    def test_a_state_is_any_bytes(self, node: Callable[..., Member], state: bytes) -> None:
        mine, theirs = node(), node()
        won(mine.set_state(state, None), state, "no state was there")
        found = theirs.get_state()
        assert found is not None, "another node of the run has to see the state"
        assert bytes(found[0]) == state, "a state is opaque: it has to come back byte for byte"
        won(theirs.set_state(state + b"+", found[1]), state + b"+", "its token was the state's")

    def test_nodes_of_one_run_see_each_others_state(self, node: Callable[..., Member]) -> None:
        mine, theirs = node(), node()
        won(mine.set_state(b"mine", None), b"mine", "no state was there")
        found = theirs.get_state()
        assert found is not None, "another node of the run has to see the state, at once"
        assert found[0] == b"mine", "another node of the run has to see the newest state, at once"
        won(theirs.set_state(b"theirs", found[1]), b"theirs", "its token was the state's")
        assert standing(mine) == b"theirs", "a state must not be remembered: the register has the newest one"

    def test_other_runs_see_nothing_of_it(self, node: Callable[..., Member], run_id: str) -> None:
        mine = node()
        others = [node(f"{run_id}-2"), node(run_id[:-1])]
        won(mine.set_state(b"mine", None), b"mine", "no state was there")
        for other in others:
            assert other.get_state() is None, "a run's state has to be its own: another run id has found it"
            won(other.set_state(b"other", None), b"other", "no state was there for its run")
        assert standing(mine) == b"mine", "another run's swap has to leave this run's state as it was"

    def test_no_increment_is_lost_when_many_nodes_swap_at_once(self, node: Callable[..., Member]) -> None:
        backends = [node() for _ in range(THREADS)]
        threads = [Thread(f"node {number}") for number in range(THREADS)]
        calls = [
            thread.call(count_up, one, number)
            for number, (thread, one) in enumerate(zip(threads, backends, strict=True))
        ]
        for number, call in enumerate(calls):
            outcome(call, self.seconds, f"node {number}", f"{INCREMENTS} swaps have to win in the end")
        for thread in threads:
            thread.end(self.seconds)
        counted = int(standing(backends[0]).split()[0])
        assert counted == THREADS * INCREMENTS, "of swaps with one token exactly one has to win: increments were lost"

    # --- WATCH ------------------------------------------------------------------------------------------

    def test_a_change_by_another_node_is_told(self, node: Callable[..., Member]) -> None:
        self.need(Capability.WATCH)
        mine, theirs = node(), node()
        token = None
        for state in (b"one", b"two", b"three"):
            mine.look()
            _, token = won(theirs.set_state(state, token), state, "its token was the state's")
            self.told(mine, partial(has, mine, state), f"another node has swapped in {state!r}")

    def test_a_node_that_stopped_watching_is_told_nothing_and_the_others_all(self, node: Callable[..., Member]) -> None:
        self.need(Capability.WATCH)
        gone, stays, writer = node(), node(), node()
        for one in (gone, stays):
            one.look()
        gone.close()
        gone.changed.clear()
        won(writer.set_state(b"state", None), b"state", "no state was there")
        self.told(stays, partial(has, stays, b"state"), "another node has swapped, and a third one was closed")
        assert not gone.changed.is_set(), "`changed` must not be called after `close` has returned"

    def told(self, node: Member, condition: Callable[[], bool], why: str) -> None:
        """Look when `changed` was called, and only then, until it is so. It may be called more often than needed."""
        give_up = monotonic() + self.seconds
        while True:
            called = node.changed.wait(max(0.0, give_up - monotonic()))
            assert called, f"`changed` has to be called, because {why}; it was not, within {self.seconds:g} s"
            node.look()
            if condition():
                return

    # --- LEASE ------------------------------------------------------------------------------------------

    def test_a_lease_is_a_number_of_seconds(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        assert 0 < float(node().lease_seconds) < float("inf"), "lease_seconds has to say how long an entry stands"

    def test_without_an_entry_nothing_is_held_and_nobody_leads(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        backend = node()
        held, leads, entries = backend.held_since(), backend.leads(), dict(backend.entries())
        assert held == float("-inf"), "held_since has to be minus infinity while there is no entry"
        assert not leads, "a node without an entry must not lead"
        assert entries == {}, "there are no entries where nobody has entered"

    def test_an_entry_is_held_since_it_was_put_up(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        backend = node()
        before = monotonic()
        backend.enter("a", b"entry")
        self.until(lambda: backend.held_since() >= before, "held_since has to be a time after `enter` was called")
        assert backend.held_since() <= monotonic(), "held_since has to be by time.monotonic, and never in the future"
        assert dict(backend.entries()) == {"a": b"entry"}, "a node's own entry has to stand once it has entered"
        assert backend.leads(), "a node whose entry is the only one has to lead"

    def test_entries_are_in_order_of_age_and_the_oldest_leads(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "c", "a", "b")
        for one in nodes.values():
            self.until(partial(stand, one, "c", "a", "b"), "entries have to be oldest first")
        leading = [id for id, one in nodes.items() if one.leads()]
        assert leading == ["c"], "the node whose entry is the oldest has to lead, and no other"

    def test_an_entry_that_is_replaced_keeps_its_age(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "first", "second")
        nodes["first"].enter("first", b"\0other")
        expected = {"first": b"\0other", "second": b"second"}
        seen = nodes["second"].entries
        self.until(lambda: dict(seen()) == expected, "an entry that is put up again has to replace the one before")
        assert list(seen()) == ["first", "second"], "a node that replaces its entry has to keep its age"
        assert nodes["first"].leads(), "a node that replaces its entry has to keep the lead"

    def test_a_new_entry_is_told(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "old")
        nodes["old"].look()
        enter_all(self, node, "new")
        self.told(nodes["old"], partial(stand, nodes["old"], "old", "new"), "another node has put up its entry")

    def test_the_lead_passes_on_when_the_oldest_entry_is_withdrawn(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "first", "second")
        won(nodes["first"].set_state(b"state", None), b"state", "no state was there")
        nodes["second"].look()
        nodes["first"].withdraw()
        self.told(
            nodes["second"], nodes["second"].leads, "the oldest entry was withdrawn, and it is the next one's turn"
        )
        assert not nodes["first"].leads(), "a node that has withdrawn its entry must not lead"
        assert nodes["first"].held_since() == float("-inf"), "held_since has to be minus infinity after `withdraw`"
        assert standing(nodes["second"]) == b"state", "the state has to stay while there is an entry"

    def test_the_state_goes_with_the_last_entry(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "first", "second")
        won(nodes["first"].set_state(b"state", None), b"state", "no state was there")
        nodes["first"].withdraw()
        nodes["second"].withdraw()
        watcher = node()
        self.until(lambda: watcher.get_state() is None, "`withdraw` of the last entry has to take the state away, too")

    def test_an_entry_is_kept_alive_by_the_backend_itself(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "a", "b")
        lease = nodes["a"].lease_seconds
        threading.Event().wait(1.5 * lease)  # nothing is to happen meanwhile
        age = monotonic() - nodes["a"].held_since()
        assert list(nodes["b"].entries()) == ["a", "b"], "an entry has to stand while its node lives, asked or not"
        assert age < lease, "held_since has to be renewed by signs of life that the backend sends by itself"

    def test_an_entry_ends_with_its_node_and_the_lead_passes_on(self, node: Callable[..., Member]) -> None:
        self.need(Capability.LEASE)
        nodes = enter_all(self, node, "dies", "lives")
        lives = nodes["lives"]
        lives.look()
        nodes["dies"].close()
        self.told(lives, partial(stand, lives, "lives"), "the entry of a node that is gone has to end")
        assert lives.leads(), "the oldest entry of those that stand has to lead"


def won(result: Any, state: bytes, why: str) -> tuple[bytes, Any]:
    """State and token of a swap that has to win."""
    expected = f"set_state has to set the state and return ({state[:20]!r}, its token, True), because {why}"
    assert result is not None, f"{expected}; it returned None"
    assert len(result) == 3, f"{expected}; it returned {result!r}"
    assert bool(result[2]), f"{expected}; it said that the swap lost"
    assert bytes(result[0]) == state, f"{expected}; it returned another state"
    return result[0], result[1]


def lost(result: Any, truth: bytes, why: str) -> Any:
    """The token of the truth that a swap returned, which has to lose."""
    expected = f"set_state has to lose and return ({truth!r}, its token, False), because {why}"
    assert result is not None, f"{expected}; it returned None"
    assert len(result) == 3, f"{expected}; it returned {result!r}"
    assert not result[2], f"{expected}; it said that the swap won"
    assert bytes(result[0]) == truth, f"{expected}; it returned another state"
    return result[1]


def standing(backend: Any) -> bytes:
    """The state that a node sees, where there has to be one."""
    found = backend.get_state()
    assert found is not None, "get_state has to return the state that was written last; it returned None"
    return bytes(found[0])


def count_up(backend: Member, node: int) -> None:
    """Add 1 to the number in the register, INCREMENTS times.

    Beside the number stands who wrote it: nodes that swap in the same bytes may both be told that they have won.
    """
    for _ in range(INCREMENTS):
        found = backend.get_state()
        state, token = found if found is not None else (b"0", None)
        done = False
        while not done:
            answer = backend.set_state(b"%d by %d" % (int(state.split()[0]) + 1, node), token)
            assert answer is not None, "set_state has to return the truth where there is a state; it returned None"
            state, token, done = answer


def has(backend: Any, state: bytes) -> bool:
    """Whether that is the state."""
    found = backend.get_state()
    return found is not None and bytes(found[0]) == state


def stand(backend: Any, *ids: str) -> bool:
    """Whether just these entries stand, in this order."""
    return list(backend.entries()) == list(ids)


def sees(backend: Any, id: str) -> bool:
    """Whether that entry stands."""
    return id in backend.entries()


def enter_all(contract: Contract, node: Callable[..., Member], *ids: str) -> dict[str, Member]:
    """One node for each id, which have entered one after another; each is seen before the next enters."""
    made: dict[str, Member] = {}
    for id in ids:
        one = made[id] = node()
        one.enter(id, id.encode())
        contract.until(partial(sees, one, id), f"the entry {id!r} has to stand after `enter`")
    return made
