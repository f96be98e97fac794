"""How many nodes, workers, devices and CPUs a text means."""

from __future__ import annotations

import pytest

from launcher_core.errors import NodesError, UsageError
from launcher_core.rules.sizes import (
    affinity_mask_devices,
    parse_min_max_nnodes,
    parse_nproc,
    usable_cpus,
    visible_devices,
)


@pytest.mark.parametrize(("text", "expected"), [("1", (1, 1)), ("2:20", (2, 20)), (" 2 : 3 ", (2, 3)), ("4:4", (4, 4))])
def test_nodes_are_one_number_or_two(text: str, expected: tuple[int, int]) -> None:
    assert parse_min_max_nnodes(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3:2", "--nnodes='3:2': 3 is more than 2; write MIN:MAX, e.g. 2:3"),
        ("0", "--nnodes='0': 0 is too few; at least one node is needed"),
        ("0:2", "--nnodes='0:2': 0 is too few; at least one node is needed"),
        ("1:-1", "--nnodes='1:-1': -1 is too few; at least one node is needed"),
        ("a:b", "--nnodes='a:b': write whole numbers, N or MIN:MAX, e.g. 1:4"),
        ("1:", "--nnodes='1:': write whole numbers, N or MIN:MAX, e.g. 1:4"),
        ("", "--nnodes='': write whole numbers, N or MIN:MAX, e.g. 1:4"),
        ("1.5", "--nnodes='1.5': write whole numbers, N or MIN:MAX, e.g. 1:4"),
    ],
)
def test_nodes_that_make_no_sense_are_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_min_max_nnodes(text)
    assert str(caught.value) == words


def test_three_parts_are_a_runtime_error_too() -> None:
    with pytest.raises(RuntimeError, match="MIN:MAX") as caught:
        parse_min_max_nnodes("2:20:30")
    assert (type(caught.value), "2:20:30" in str(caught.value)) == (NodesError, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", 4), (" 2 ", 2), ("1_0", 10), ("auto", "auto"), ("cpu", "cpu"), ("xpu", "xpu")],
)
def test_workers_are_a_number_or_a_word(text: str, expected: int | str) -> None:
    assert parse_nproc(text) == expected


@pytest.mark.parametrize("text", ["0", "-1", "", "GPU", "cuda", "1.5", "unknown", "auto "])
def test_workers_of_any_other_number_or_word_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--nproc-per-node"):
        parse_nproc(text)


@pytest.mark.parametrize(
    ("listing", "seen"),
    [
        (None, 4),
        ("", 0),
        ("0", 1),
        ("0,2", 2),
        (" 1 , 3 ", 2),
        ("0,-1,2", 1),
        ("-1", 0),
        ("0,7,1", 1),
        ("0,,1", 1),
        ("1,1", 0),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", 1),
        ("GPU-89,GPU-90", 2),
        ("MIG-GPU-89/1/0,MIG-89", 2),
        ("none", 0),
        ("0,x,1", 1),
        ("3,2,1,0", 4),
    ],
)
def test_a_list_of_visible_devices_ends_at_the_first_that_is_none(listing: str | None, seen: int) -> None:
    assert visible_devices(4, listing) == seen


def test_no_list_makes_devices_that_are_not_there() -> None:
    assert [visible_devices(0, listing) for listing in (None, "0", "GPU-1", "")] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("mask", "seen"), [(None, 2), ("", 2), ("0", 1), ("0,1", 2), ("0.0,0.1", 1), ("1.0,0", 2), ("5", 0)]
)
def test_an_affinity_mask_counts_devices_not_tiles(mask: str | None, seen: int) -> None:
    assert affinity_mask_devices(2, mask) == seen


@pytest.mark.parametrize(
    ("allowed", "quotas", "expected"),
    [
        (8, [], 8),
        (8, [(200_000, 100_000)], 2),
        (8, [(250_000, 100_000)], 2),
        (8, [(50_000, 100_000)], 1),
        (2, [(800_000, 100_000)], 2),
        (8, [(600_000, 100_000), (300_000, 100_000)], 3),
        (8, [(100_000, 0)], 8),
        (0, [], 1),
    ],
)
def test_the_tightest_limit_says_how_many_cpus_are_usable(
    allowed: int, quotas: list[tuple[int, int]], expected: int
) -> None:
    assert usable_cpus(allowed, quotas) == expected
