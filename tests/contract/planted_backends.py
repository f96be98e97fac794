"""Registers in memory, sound and with defects, held against the kit by `test_kit_finds.py`."""

from __future__ import annotations

import threading
from itertools import count
from time import monotonic

import pytest

from launcher_core.model.capability import Capability
from launcher_core.testing import RendezvousBackendContract

LEASE = 0.2


class Register:
    """What the nodes of one run share."""

    def __init__(self):
        self.lock = threading.RLock()
        self.state = None
        self.token = 0
        self.entries = {}
        self.watchers = []
        self.numbers = count()

    def tell(self):
        for changed in list(self.watchers):
            changed()


class Backend:
    """A sound one."""

    name = "memory"

    def __init__(self, register):
        self.register = register

    def get_state(self):
        with self.register.lock:
            return None if self.register.state is None else (self.register.state, self.register.token)

    def set_state(self, state, token=None):
        register = self.register
        with register.lock:
            if token != (None if register.state is None else register.token):
                return None if register.state is None else (register.state, register.token, False)
            register.state = state
            register.token += 1
            mine = register.token
        register.tell()
        return state, mine, True


class Leased(Backend):
    """A sound one that tells of changes, and whose entries end with their nodes."""

    lease_seconds = LEASE
    id = None

    def watch(self, changed):
        self.changed = changed
        self.register.watchers.append(changed)

    def close(self):
        self.register.watchers.remove(self.changed)
        if self.id in self.register.entries:
            timer = threading.Timer(LEASE, self._expire)
            timer.daemon = True
            timer.start()

    def _expire(self):
        self.register.entries.pop(self.id, None)
        self.register.tell()

    def enter(self, id, entry):
        self.id = id
        with self.register.lock:
            number = self.register.entries[id][0] if id in self.register.entries else next(self.register.numbers)
            self.register.entries[id] = (number, entry)
        self.register.tell()

    def held_since(self):
        return monotonic() if self.id in self.register.entries else float("-inf")

    def leads(self):
        return next(iter(self.entries()), None) == self.id is not None

    def entries(self):
        with self.register.lock:
            return {id: entry for id, (_, entry) in sorted(self.register.entries.items(), key=lambda pair: pair[1][0])}

    def withdraw(self):
        with self.register.lock:
            del self.register.entries[self.id]
            if not self.register.entries:
                self.register.state = None
        self.register.tell()


class Kit(RendezvousBackendContract):
    backend = Backend
    seconds = 0.4
    caught_by = ""

    @pytest.fixture
    def make_backend(self):
        registers = {}

        def make(run_id):
            return self.backend(registers.setdefault(self.key(run_id), Register()))

        return make

    def key(self, run_id):
        return run_id


class LeaseKit(Kit):
    backend = Leased
    capabilities = Capability.WATCH | Capability.LEASE


class TestSound(Kit):
    seconds = 10.0


class TestSoundWithLeases(LeaseKit):
    seconds = 10.0


class TestNameless(Kit):
    caught_by = "test_it_has_the_name_it_is_selected_by"

    class backend(Backend):
        name = ""


class TestBornWithAState(Kit):
    caught_by = "test_a_fresh_register_is_empty"

    class backend(Backend):
        def get_state(self):
            return super().get_state() or (b"", None)


class TestForgetsTheFence(Kit):
    """Writes whatever the token says."""

    caught_by = "test_a_swap_with_a_stale_token_loses_and_returns_the_truth"

    class backend(Backend):
        def set_state(self, state, token=None):
            return super().set_state(state, self.register.token if token is not None else None)


class TestNoTokenWins(Kit):
    """Takes None for "do not compare"."""

    caught_by = "test_a_swap_with_no_token_loses_where_there_is_a_state"

    class backend(Backend):
        def set_state(self, state, token=None):
            found = self.get_state()
            return super().set_state(state, found[1] if token is None and found else token)


class TestReturnsItsOwnState(Kit):
    """A lost swap returns what was to be written, with the right token."""

    caught_by = "test_a_swap_with_a_stale_token_loses_and_returns_the_truth"

    class backend(Backend):
        def set_state(self, state, token=None):
            found = super().set_state(state, token)
            return found and (state, found[1], found[2])


class TestReadsThenWrites(Kit):
    """Compares and sets in two steps."""

    caught_by = "test_no_increment_is_lost_when_many_nodes_swap_at_once"

    class backend(Backend):
        def set_state(self, state, token=None):
            found = self.get_state()
            if token != (found[1] if found else None):
                return found and (*found, False)
            threading.Event().wait(0.001)
            self.register.state = state
            self.register.token += 1
            return state, self.register.token, True


class TestRemembers(Kit):
    """Reads the register once."""

    caught_by = "test_nodes_of_one_run_see_each_others_state"

    class backend(Backend):
        seen = None

        def get_state(self):
            self.seen = self.seen or super().get_state()
            return self.seen

        def set_state(self, state, token=None):
            found = super().set_state(state, token)
            self.seen = found and found[:2]
            return found


class TestOneRegisterForAll(Kit):
    caught_by = "test_other_runs_see_nothing_of_it"

    def key(self, run_id):
        return ""


class TestText(Kit):
    """Takes a state for text that ends at a NUL."""

    caught_by = "test_a_state_is_any_bytes"

    class backend(Backend):
        def get_state(self):
            found = super().get_state()
            return found and (found[0].split(b"\0")[0], found[1])


class TestShort(Kit):
    """Cuts a long state off."""

    caught_by = "test_a_state_is_any_bytes"

    class backend(Backend):
        def get_state(self):
            found = super().get_state()
            return found and (found[0][:65536], found[1])


class TestSaysNothing(Kit):
    """Returns None for a swap that lost."""

    caught_by = "test_a_swap_with_no_token_loses_where_there_is_a_state"

    class backend(Backend):
        def set_state(self, state, token=None):
            found = super().set_state(state, token)
            return found if found and found[2] else None


class TestSetsWhatIsNotThere(Kit):
    """Takes any token where there is no state."""

    caught_by = "test_a_token_of_another_run_sets_nothing_where_there_is_no_state"

    class backend(Backend):
        def set_state(self, state, token=None):
            return super().set_state(state, None if self.register.state is None else token)


class TestTellsOnce(LeaseKit):
    caught_by = "test_a_change_by_another_node_is_told"

    class backend(Leased):
        def watch(self, changed):
            def once():
                if not self.told:
                    changed()
                self.told = True

            self.told = False
            super().watch(once)


class TestTellsTheClosed(LeaseKit):
    caught_by = "test_a_node_that_stopped_watching_is_told_nothing_and_the_others_all"

    class backend(Leased):
        def close(self):
            pass


class TestHeldForEver(LeaseKit):
    caught_by = "test_without_an_entry_nothing_is_held_and_nobody_leads"

    class backend(Leased):
        def held_since(self):
            return monotonic()


class TestByName(LeaseKit):
    """Orders entries by id."""

    caught_by = "test_entries_are_in_order_of_age_and_the_oldest_leads"

    class backend(Leased):
        def entries(self):
            return dict(sorted(super().entries().items()))


class TestYoungAgain(LeaseKit):
    """A node that replaces its entry goes to the end."""

    caught_by = "test_an_entry_that_is_replaced_keeps_its_age"

    class backend(Leased):
        def enter(self, id, entry):
            self.register.entries.pop(id, None)
            super().enter(id, entry)


class TestKeepsTheState(LeaseKit):
    caught_by = "test_the_state_goes_with_the_last_entry"

    class backend(Leased):
        def withdraw(self):
            state = self.register.state
            super().withdraw()
            self.register.state = state


class TestTakesTheStateEarly(LeaseKit):
    caught_by = "test_the_lead_passes_on_when_the_oldest_entry_is_withdrawn"

    class backend(Leased):
        def withdraw(self):
            super().withdraw()
            self.register.state = None


class TestLapses(LeaseKit):
    """Nobody keeps an entry alive."""

    caught_by = "test_an_entry_is_kept_alive_by_the_backend_itself"

    class backend(Leased):
        def enter(self, id, entry):
            super().enter(id, entry)
            timer = threading.Timer(LEASE, self._expire)
            timer.daemon = True
            timer.start()


class TestOutlivesItsNode(LeaseKit):
    caught_by = "test_an_entry_ends_with_its_node_and_the_lead_passes_on"

    class backend(Leased):
        def close(self):
            self.register.watchers.remove(self.changed)


class TestTellsNoEntries(LeaseKit):
    caught_by = "test_a_new_entry_is_told"

    class backend(Leased):
        def enter(self, id, entry):
            watchers, self.register.watchers = self.register.watchers, []
            super().enter(id, entry)
            self.register.watchers = watchers


class TestForgetsInTheEnd(Kit):
    """Has the state for so many swaps only, as where it expires."""

    caught_by = "test_calls_that_fail_and_answers_that_are_lost_cost_time_and_nothing_else[1]"

    class backend(Backend):
        def set_state(self, state, token=None):
            if self.register.token == 14:
                self.register.state, self.register.token = None, 15
            return super().set_state(state, token)
