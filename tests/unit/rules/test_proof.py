"""Proof of a token: who can make it, who can check it, and that it fits one conversation only."""

from __future__ import annotations

import hmac

import pytest

from launcher_core.rules import proof

WORDS = {"token": b"secret", "side": "guest", "run_id": "job", "theirs": "host's nonce", "ours": "guest's nonce"}


def test_a_proof_holds_for_the_words_that_it_was_made_of():
    given = proof.of(**WORDS)

    assert proof.holds(given, **WORDS)
    assert len(given) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"token": b"Secret"},
        {"token": b""},
        {"side": "host"},
        {"run_id": "job2"},
        {"theirs": "another nonce"},
        {"ours": "another nonce"},
        {"theirs": WORDS["ours"], "ours": WORDS["theirs"]},
    ],
    ids=str,
)
def test_a_proof_holds_for_nothing_else(other):
    assert not proof.holds(proof.of(**WORDS), **{**WORDS, **other})


@pytest.mark.parametrize("given", ["", "None", "0" * 64, "é" * 64, "x" * 10_000])
def test_what_is_no_proof_does_not_hold(given):
    assert not proof.holds(given, **WORDS)


def test_letters_cannot_move_from_one_word_to_the_next():
    one = proof.of(b"t", "guest", "ab", "c", "d")

    assert one != proof.of(b"t", "guest", "a", "bc", "d")
    assert one != proof.of(b"t", "guest", "ab", "", "cd")
    assert one != proof.of(b"t", "guesta", "b", "c", "d")


def test_the_text_that_is_proven_is_each_word_after_its_length():
    text = b"\0\0\0\x04host\0\0\0\x02\xc3\xa9\0\0\0\x00\0\0\0\x01n"

    assert proof.of(b"key", "host", "é", "", "n") == hmac.new(b"key", text, "sha256").hexdigest()


def test_a_text_that_has_no_bytes_is_a_value_error():
    with pytest.raises(ValueError):
        proof.of(b"t", "guest", "\ud800", "", "")
