"""Defects to plant in the rendezvous over a register, each a few lines, as somebody could have written them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from launcher_core.rules import clerk as clerks
from launcher_core.rules import register as registers
from launcher_core.rules import round as rounds
from launcher_core.rules.clerk import Clerk
from launcher_core.rules.doubt import NEVER, Doubts
from launcher_core.rules.register import Register

Plant = Callable[[Any], None]


def a_node_that_is_cut_off_keeps_its_workers(patch):
    patch.setattr(Clerk, "lapse", lambda self, now, held_since=None: [])


def workers_may_run_until_the_lease_is_over_and_longer(patch):
    patch.setattr(
        Clerk, "lapses_at", lambda self, held=None: 1.4 * self.terms.lease + (self._held if held is None else held)
    )


def a_word_is_taken_in_twice(patch):
    real = Clerk._taken_in
    patch.setattr(
        Clerk,
        "_taken_in",
        lambda self, register, *more: real(self, register._replace(heard={}), *more)._replace(heard={}),
    )


def nobody_is_ever_lost(patch):
    real = Clerk._taken_in

    def taken_in(self, register, words, living, now):
        return real(self, register, words, set(living) | registers.members(register.round), now)

    patch.setattr(Clerk, "_taken_in", taken_in)


def whoever_says_so_last_is_right(patch):
    from shared.backends import Memory

    real = Memory.swap
    patch.setattr(Memory, "swap", lambda self, state, token: real(self, state, self.state and self.state[1]))


def every_node_writes_for_all(patch):
    from shared.backends import LeasedView

    real = LeasedView.set_state
    patch.setattr(LeasedView, "leads", lambda self: True)
    patch.setattr(LeasedView, "entries", lambda self: dict(list(self._reach().entries.items())[:2]))
    patch.setattr(LeasedView, "set_state", real)


def the_word_is_not_said_again_when_its_entry_is_gone(patch):
    patch.setattr(Clerk, "_renew", lambda self: None)


def a_place_is_taken_before_the_word_was(patch):
    real = Clerk.notice

    def notice(self, register, now, held_since=None):
        everyone = {id: 1 << 30 for id in (*register.round.seated.ids, *register.heard)}
        return real(self, register._replace(heard=everyone), now, held_since)

    patch.setattr(Clerk, "notice", notice)


def an_old_address_will_do(patch):
    real = registers.seat_of

    def seat_of(register, id):
        address = register.address
        fresh = address and address._replace(round=register.round.number)
        return real(register._replace(address=fresh), id)

    patch.setattr(clerks, "seat_of", seat_of)
    patch.setattr(
        clerks, "must_host", lambda register, id: register.address is None and registers.must_host(register, id)
    )


def the_last_call_never_ends(patch):
    patch.setattr(Clerk, "_last_call_is_over", lambda self, round, now: False)


def another_clock_ends_the_last_call(patch):
    def applied(self, round, change, now):
        return rounds.apply(round, change, 1e9, self.terms.limits, self._assign)[0]

    patch.setattr(Clerk, "_applied", applied)


def a_failure_is_always_reported_anew(patch):
    real = Clerk._with_last_word

    def again(self, register, now):
        word = self._word
        if word is not None and word.say == "failed":
            self._word = word._replace(count=word.count + 1)
        return real(self, register, now)

    patch.setattr(Clerk, "_with_last_word", again)
    plain = Clerk._fold
    every = Clerk._fold_all

    def fold(real):
        def folded(self, register, *more):
            word = self._word
            if word is not None and word.say == "failed":
                register = register._replace(heard={**register.heard, self.me: 0}, round=_running(register))
            return real(self, register, *more)

        return folded

    patch.setattr(Clerk, "_fold", fold(plain))
    patch.setattr(Clerk, "_fold_all", fold(every))


def _running(register: Register) -> rounds.Round:
    return register.round._replace(phase=rounds.Phase.RUNNING) if register.round.number >= 0 else register.round


def the_last_one_leaves_its_entry_behind(patch):
    from shared.backends import LeasedView

    patch.setattr(LeasedView, "withdraw", lambda self: None)


def a_job_that_is_over_stays_so_for_the_next(patch):
    patch.setattr(Clerk, "_taken_in", _keeping_over(Clerk._taken_in))
    real = Clerk.depart

    def depart(self, now):
        return (yield from real(self, now)) if self.leased else Register()

    patch.setattr(Clerk, "depart", depart)


def _keeping_over(real: Callable[..., Any]) -> Callable[..., Any]:
    def taken_in(self, register, *more):
        return register if register.round.phase is rounds.Phase.OVER else real(self, register, *more)

    return taken_in


def the_last_failure_is_believed_at_once(patch):
    patch.setattr(Doubts, "about", lambda self, *args: False)


def a_failure_that_a_loss_explains_costs_a_restart(patch):
    real = rounds._leave
    patch.setattr(rounds, "_leave", lambda round, *more: real(round._replace(charged=False), *more))


def a_failure_is_doubted_for_ever(patch):
    patch.setattr(Doubts, "answered", lambda self, words, now: {})
    real = Doubts.__init__

    def init(self, lease):
        real(self, lease)
        self._wait = NEVER

    patch.setattr(Doubts, "__init__", init)


PLANTED: dict[str, Plant] = {
    plant.__name__: plant
    for plant in (
        a_node_that_is_cut_off_keeps_its_workers,
        workers_may_run_until_the_lease_is_over_and_longer,
        a_word_is_taken_in_twice,
        nobody_is_ever_lost,
        whoever_says_so_last_is_right,
        every_node_writes_for_all,
        the_word_is_not_said_again_when_its_entry_is_gone,
        a_place_is_taken_before_the_word_was,
        an_old_address_will_do,
        the_last_call_never_ends,
        another_clock_ends_the_last_call,
        a_failure_is_always_reported_anew,
        the_last_one_leaves_its_entry_behind,
        a_job_that_is_over_stays_so_for_the_next,
        the_last_failure_is_believed_at_once,
        a_failure_that_a_loss_explains_costs_a_restart,
        a_failure_is_doubted_for_ever,
    )
}
