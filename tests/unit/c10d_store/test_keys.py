"""The rules of a key space. Clients are letters here."""

from __future__ import annotations

import pytest

from launcher_plugins.c10d_store.keys import KeySpace


@pytest.fixture
def space() -> KeySpace:
    return KeySpace()


def woken(answer: object) -> list[object]:
    """Who is woken, of an answer that has it alone or last."""
    return list(answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer)  # type: ignore[arg-type]


# --- keys


def test_a_key_that_nobody_set_reads_as_empty(space: KeySpace):
    assert space.get(b"k") == b""


def test_the_last_value_set_is_read(space: KeySpace):
    space.set(b"k", b"1")
    space.set(b"k", b"2")

    assert (space.get(b"k"), len(space), space.keys()) == (b"2", 1, [b"k"])


def test_appending_begins_with_nothing(space: KeySpace):
    space.append(b"k", b"a")
    space.append(b"k", b"bc")

    assert space.get(b"k") == b"abc"


def test_values_set_together_are_all_there(space: KeySpace):
    space.multi_set({b"a": b"1", b"b": b"2"})

    assert [space.get(key) for key in (b"b", b"a", b"c")] == [b"2", b"1", b""]


def test_deleting_tells_whether_there_was_something(space: KeySpace):
    space.set(b"k", b"")

    assert (space.delete(b"k"), space.delete(b"k"), len(space)) == (True, False, 0)


@pytest.mark.parametrize(
    ("held", "delta", "total"),
    [
        (None, 5, 5),
        (b"5", -7, -2),
        (b"  12abc", 1, 13),
        (b"+3", 0, 3),
        (b"0", 2, 2),
        (b"-0000000000000000000000000000000012", 2, -10),
        (b"1_000", 1, 2),
        (b"9223372036854775807", 1, -(2**63)),
        (b"-9223372036854775808", -1, 2**63 - 1),
    ],
)
def test_adding_reads_a_number_as_torch_does_and_wraps_at_64_bits(
    space: KeySpace, held: bytes | None, delta: int, total: int
):
    if held is not None:
        space.set(b"n", held)

    assert space.add(b"n", delta)[0] == total
    assert space.get(b"n") == b"%d" % total


@pytest.mark.parametrize("held", [b"", b"abc", b"- 1", b"9223372036854775808", b"1" * 5000])
def test_adding_to_what_is_no_number_fails_and_changes_nothing(space: KeySpace, held: bytes):
    space.set(b"n", held)

    with pytest.raises(ValueError, match="b'n'"):
        space.add(b"n", 1)

    assert space.get(b"n") == held


@pytest.mark.parametrize(
    ("held", "expected", "desired", "answer", "after"),
    [
        (None, b"", b"a", b"a", b"a"),
        (None, b"x", b"a", b"x", None),
        (b"a", b"a", b"b", b"b", b"b"),
        (b"a", b"x", b"b", b"a", b"a"),
        (b"a", b"", b"b", b"a", b"a"),
        (b"", b"", b"b", b"b", b"b"),
    ],
)
def test_compare_set_answers_as_torch_does(
    space: KeySpace, held: bytes | None, expected: bytes, desired: bytes, answer: bytes, after: bytes | None
):
    if held is not None:
        space.set(b"k", held)

    assert space.compare_set(b"k", expected, desired)[0] == answer
    assert (space.has([b"k"]), space.get(b"k")) == (after is not None, after or b"")


# --- waiting


def test_a_wait_for_what_is_there_is_over_at_once(space: KeySpace):
    space.set(b"a", b"")
    space.push(b"q", b"1")

    assert space.wait("x", [b"a", b"q", b"a"])
    assert space.wait("x", [])


@pytest.mark.parametrize(
    "create",
    [
        lambda space: space.set(b"k", b"1"),
        lambda space: space.add(b"k", 1),
        lambda space: space.append(b"k", b"1"),
        lambda space: space.multi_set({b"j": b"", b"k": b"1"}),
        lambda space: space.compare_set(b"k", b"", b"1"),
        lambda space: space.push(b"k", b"1"),
    ],
    ids=["set", "add", "append", "multi_set", "compare_set", "push"],
)
def test_whatever_brings_a_key_about_wakes_who_waits_for_it_once(space: KeySpace, create):
    assert not space.wait("x", [b"k"])

    assert woken(create(space)) == ["x"]
    assert woken(create(space)) == []


def test_a_failed_compare_set_wakes_nobody(space: KeySpace):
    space.wait("x", [b"k"])

    assert woken(space.compare_set(b"k", b"not this", b"1")) == []


def test_a_wait_is_over_when_the_last_key_has_come_in_any_order(space: KeySpace):
    space.set(b"b", b"")
    space.wait("x", [b"a", b"b", b"c", b"a"])

    assert woken(space.set(b"c", b"")) == []
    assert woken(space.set(b"c", b"")) == []
    assert woken(space.set(b"a", b"")) == ["x"]


def test_a_key_that_came_and_went_counts_as_come(space: KeySpace):
    space.wait("x", [b"a", b"b"])
    space.set(b"a", b"")
    space.delete(b"a")

    assert woken(space.set(b"b", b"")) == ["x"]


def test_all_who_wait_for_a_key_are_woken_oldest_first(space: KeySpace):
    for client in "zya":
        space.wait(client, [b"k"])

    assert woken(space.set(b"k", b"")) == ["z", "y", "a"]


def test_each_wait_of_a_client_is_answered(space: KeySpace):
    space.wait("x", [b"a"])
    space.wait("x", [b"b"])
    space.wait("x", [b"b"])

    assert woken(space.set(b"b", b"")) == ["x", "x"]
    assert woken(space.set(b"a", b"")) == ["x"]


def test_one_multi_set_can_end_a_wait_for_several_keys(space: KeySpace):
    space.wait("x", [b"a", b"b"])

    assert woken(space.multi_set({b"a": b"", b"b": b""})) == ["x"]


def test_who_cancels_is_not_woken_and_nobody_else_is_forgotten(space: KeySpace):
    for client in "xy":
        space.wait(client, [b"a", b"b"])
        space.arrive(client, b"bar", 3)
    space.cancel("x")
    space.cancel("x")
    space.cancel("never seen")

    assert woken(space.multi_set({b"a": b"", b"b": b""})) == ["y"]
    assert space.arrive("z", b"bar", 3) == (True, ("y",))


# --- queues


def test_a_queue_gives_the_oldest_first_and_its_length_before(space: KeySpace):
    space.push(b"q", b"1")
    space.push(b"q", b"2")

    assert [
        space.queue_len(b"q"),
        space.pop(b"q"),
        space.pop(b"q"),
        space.pop(b"q"),
        space.queue_len(b"q"),
    ] == [
        2,
        (2, b"1"),
        (1, b"2"),
        (0, b""),
        0,
    ]


def test_a_queue_is_no_key_but_is_seen_while_it_holds_something(space: KeySpace):
    space.push(b"q", b"1")

    assert (len(space), space.keys(), space.get(b"q"), space.delete(b"q"), space.has([b"q"])) == (
        0,
        [],
        b"",
        False,
        True,
    )
    space.pop(b"q")
    assert not space.has([b"q"])


def test_each_push_wakes_one_waiter(space: KeySpace):
    space.wait("x", [b"q"])
    space.wait("y", [b"q"])

    assert [woken(space.push(b"q", b"")) for _ in range(3)] == [["x"], ["y"], []]


def test_a_waiter_that_lacks_more_does_not_use_up_a_push(space: KeySpace):
    space.wait("x", [b"q", b"k"])
    space.wait("y", [b"q"])

    assert woken(space.push(b"q", b"")) == ["y"]
    assert woken(space.set(b"k", b"")) == ["x"]


def test_a_key_of_a_queues_name_wakes_all_who_wait(space: KeySpace):
    space.wait("x", [b"q"])
    space.wait("y", [b"q"])

    assert woken(space.set(b"q", b"")) == ["x", "y"]


# --- barriers


def test_the_last_arrival_passes_and_wakes_the_others(space: KeySpace):
    assert space.arrive("x", b"bar", 3) == (False, ())
    assert space.arrive("y", b"bar", 3) == (False, ())
    assert space.arrive("z", b"bar", 3) == (True, ("x", "y"))
    assert space.get(b"bar") == b"3"


def test_a_barrier_stays_open(space: KeySpace):
    space.arrive("x", b"bar", 1)

    assert space.arrive("y", b"bar", 1) == (True, ())


def test_an_arrival_counts_though_its_client_has_gone(space: KeySpace):
    space.arrive("x", b"bar", 2)
    space.cancel("x")

    assert space.arrive("y", b"bar", 2) == (True, ())


def test_the_first_arrival_wakes_who_waits_for_the_counter_and_no_set_opens_the_barrier(space: KeySpace):
    space.wait("w", [b"bar"])

    assert space.arrive("x", b"bar", 2) == (False, ["w"])
    assert woken(space.set(b"bar", b"7")) == []
    assert space.arrive("y", b"bar", 2) == (True, ("x",))


def test_a_barrier_on_what_is_no_number_fails(space: KeySpace):
    space.set(b"bar", b"x")

    with pytest.raises(ValueError, match="b'bar'"):
        space.arrive("x", b"bar", 2)


@pytest.mark.parametrize("value", [b"0" * 2**23 + b"1" * 20, b" " * 2**23 + b"x", b"1" * 2**23])
def test_a_long_value_that_is_no_number_is_read_once(value: bytes):
    """Not tried in every way to split it, which took half a minute for eight megabytes: others are to be served."""
    space = KeySpace()
    space.set(b"n", value)

    with pytest.raises(ValueError, match="no 64-bit number"):
        space.add(b"n", 1)


def test_zeros_before_a_number_do_not_count():
    space = KeySpace()
    space.set(b"n", b" -" + b"0" * 2**20 + b"41")

    assert space.add(b"n", -1)[0] == -42
