"""What no host says: it ends the conversation as a ValueError, whatever it is."""

from __future__ import annotations

import pytest
from hosts import DISMISS, SEAT, SECRET, WHERE, Host, heard, host_proof

from launcher_core.errors import UsageError
from launcher_core.rules.guest import Guest, Stage

SAID = {
    "challenge": {"nonce": "yours", "token": True},
    "welcome": host_proof(),
    "refused": {"reason": "x"},
    "ok": {"n": 1},
    "seat": SEAT,
    "dismiss": DISMISS,
    "waiting": {"have": 1, "low": 2, "high": 4, "detail": "", "seconds_left": None, "then": ""},
    "end": {"succeeded": True, "reason": ""},
}
WRONG = (None, [], {}, [[]], "x", -1, 1.5, 10**400, True, "\ud800")


@pytest.mark.parametrize("type, field", [(type, field) for type, fields in SAID.items() for field in fields])
def test_whatever_stands_in_a_field_it_is_a_value_error_at_most(type, field):
    for value in WRONG:
        for stage in (Stage.GREETING, Stage.HEARD):
            host = Host(Guest(SECRET))
            host.greets(0)
            if stage is Stage.HEARD:
                host.says(0, "welcome", **host_proof())
            try:
                host.says(0, type, **{**SAID[type], field: value})
            except (ValueError, UsageError) as error:
                assert error.args


@pytest.mark.parametrize("type, field", [(type, field) for type, fields in SAID.items() for field in fields])
def test_a_field_that_is_missing_is_a_value_error(type, field):
    fields = {key: value for key, value in SAID[type].items() if key != field}
    if (type, field) != ("waiting", "seconds_left"):
        with pytest.raises(ValueError):
            heard(0, where=WHERE).says(0, type, **fields)


def test_what_a_newer_host_adds_is_not_looked_at():
    assert heard(0).says(0, "seat", **SEAT, store={"from": "the wire"}, more=1) == heard(0).says(0, "seat", **SEAT)
