"""Which CPUs workers get, on machines written down as data."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from launcher_core.errors import UsageError
from launcher_core.rules.numa import (
    MODES,
    Binding,
    Device,
    Topology,
    bindings,
    chosen_devices,
    cpu_list,
    cpus_in,
    mode_of,
)

ALL = frozenset(range(32))
"""Two sockets of two NUMA nodes of four cores with two threads each: core i is CPUs i and i + 16."""
NODES = {node: cpus_in(f"{4 * node}-{4 * node + 3},{16 + 4 * node}-{19 + 4 * node}") for node in range(4)}
LARGE = Topology(
    ALL,
    NODES,
    sockets={cpu: cpu % 16 // 8 for cpu in ALL},
    cores={cpu: cpu % 16 for cpu in ALL},
    caches={cpu: cpu % 16 // 2 * 2 for cpu in ALL},
)


def on(*nodes: int) -> list[Device]:
    return [Device(f"0000:{index:02x}:00.0", node) for index, node in enumerate(nodes)]


def lists(mode: str, topology: Topology, devices: list[Device], workers: int) -> list[str]:
    return [cpu_list(binding.cpus) for binding in bindings(mode, topology, devices, workers)]


# --- the modes, beside devices ----------------------------------------------------------------------------

BESIDE = {
    "node": (["0-3,16-19", "12-15,28-31", "0-3,16-19"], "node", LARGE, on(0, 3, 0)),
    "socket": (["0-7,16-23", "8-15,24-31", "0-7,16-23"], "socket", LARGE, on(0, 3, 1)),
    "exclusive, even": (["0-1,16-17", "2-3,18-19"], "exclusive", LARGE, on(0, 0)),
    "exclusive, the first gets what is left over": (
        ["0-1,16-17", "2,18", "3,19"],
        "exclusive",
        LARGE,
        on(0, 0, 0),
    ),
    "exclusive, each NUMA node by itself": (["4-7,20-23", "0-1,16-17", "2-3,18-19"], "exclusive", LARGE, on(1, 0, 0)),
    "core-complex, in turn": (["0-1,16-17", "2-3,18-19", "0-1,16-17"], "core-complex", LARGE, on(0, 0, 0)),
}


@pytest.mark.parametrize(("expected", "mode", "topology", "devices"), BESIDE.values(), ids=BESIDE)
def test_a_worker_gets_the_cpus_beside_its_device(
    expected: list[str], mode: str, topology: Topology, devices: list[Device]
) -> None:
    assert lists(mode, topology, devices, len(devices)) == expected


def test_a_binding_says_what_it_is_and_why() -> None:
    found = [bindings(mode, LARGE, on(1), 1)[0].reason for mode in MODES]
    assert found == [
        "NUMA node 1 (device 0000:00:00.0)",
        "socket 0 (device 0000:00:00.0)",
        "4 of 4 cores of NUMA node 1 (device 0000:00:00.0)",
        "last-level cache 0 of 2 of NUMA node 1 (device 0000:00:00.0)",
    ]


def test_devices_without_a_worker_keep_their_cores_for_other_launches() -> None:
    assert lists("exclusive", LARGE, on(0, 0, 0, 0), 2) == ["0,16", "1,17"]


def test_more_workers_than_devices_share_them_in_turn() -> None:
    assert lists("node", LARGE, on(0, 2), 3) == ["0-3,16-19", "8-11,24-27", "0-3,16-19"]
    assert lists("exclusive", LARGE, on(0, 2), 4) == ["0-1,16-17", "8-9,24-25", "2-3,18-19", "10-11,26-27"]


# --- CPUs that this process may not use -------------------------------------------------------------------

RESTRICTED = {
    "node": (["2,16"], "node", "2,4-7,16", on(0)),
    "socket, the other NUMA nodes without allowed CPUs": (["2,16"], "socket", "2,16", on(0)),
    "socket, the device's own NUMA node without allowed CPUs": (["4-5"], "socket", "4-5,9", on(0)),
    "exclusive, cores of which one thread is allowed": (["2", "3,19"], "exclusive", "2-3,19", on(0, 0)),
    "core-complex, the one with most allowed CPUs first": (["2-3,18", "1"], "core-complex", "1-3,18", on(0, 0)),
    "core-complex, the lowest of equals first": (["1", "3"], "core-complex", "1,3", on(0, 0)),
}


@pytest.mark.parametrize(("expected", "mode", "allowed", "devices"), RESTRICTED.values(), ids=RESTRICTED)
def test_only_cpus_are_used_that_this_process_may_use(
    expected: list[str], mode: str, allowed: str, devices: list[Device]
) -> None:
    topology = LARGE._replace(allowed=cpus_in(allowed))
    assert lists(mode, topology, devices, len(devices)) == expected


@pytest.mark.parametrize("mode", ["node", "exclusive", "core-complex"])
def test_a_device_beside_which_no_cpu_is_allowed_is_an_error(mode: str) -> None:
    with pytest.raises(UsageError) as caught:
        bindings(mode, LARGE._replace(allowed=cpus_in("8-9,12")), on(2, 1), 2)
    assert str(caught.value) == (
        f"--numa-binding={mode}: this process may run on CPUs 8-9,12, none of them near NUMA node 1 "
        "(device 0000:01:00.0); start it with CPUs of that node, or leave the option out"
    )


@pytest.mark.parametrize("allowed", ["8-9", "24"])
def test_a_socket_without_an_allowed_cpu_is_an_error(allowed: str) -> None:
    with pytest.raises(UsageError, match="none of them near NUMA node 1 "):
        bindings("socket", LARGE._replace(allowed=cpus_in(allowed)), on(1), 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("node", [4, 9])
def test_a_device_at_a_numa_node_without_cpus_or_at_none_that_exists_is_an_error(mode: str, node: int) -> None:
    with pytest.raises(UsageError, match=f"none of them near NUMA node {node} "):
        bindings(mode, LARGE._replace(nodes={**NODES, 4: frozenset()}), on(node), 1)


@pytest.mark.parametrize("mode", MODES)
def test_numa_nodes_without_cpus_disturb_nobody_else(mode: str) -> None:
    memory_only = LARGE._replace(nodes={**NODES, 4: frozenset()})
    assert bindings(mode, memory_only, on(0, 3), 2) == bindings(mode, LARGE, on(0, 3), 2)


def test_fewer_cores_than_devices_cannot_be_exclusive() -> None:
    with pytest.raises(UsageError) as caught:
        bindings("exclusive", LARGE._replace(allowed=cpus_in("1,17,20")), on(0, 0), 1)
    assert str(caught.value) == (
        "--numa-binding=exclusive: 2 workers or devices at NUMA node 0 need a core each, and this process may "
        "use 1 (CPUs 1,17); choose another mode, or start fewer"
    )


# --- without devices --------------------------------------------------------------------------------------

SPREAD = {
    "as many as NUMA nodes": (["0-3,16-19", "4-7,20-23", "8-11,24-27", "12-15,28-31"], "node", 4),
    "in blocks": (["0-1,16-17", "2-3,18-19", "4-5,20-21", "6-7,22-23", "8-11,24-27", "12-15,28-31"], "exclusive", 6),
    "fewer than NUMA nodes": (["0-7,16-23", "0-7,16-23"], "socket", 2),
}


@pytest.mark.parametrize(("expected", "mode", "workers"), SPREAD.values(), ids=SPREAD)
def test_without_devices_workers_are_spread_over_the_numa_nodes(expected: list[str], mode: str, workers: int) -> None:
    assert lists(mode, LARGE, [], workers) == expected


def test_workers_are_spread_only_over_numa_nodes_with_allowed_cpus_and_told_so() -> None:
    found = bindings("node", LARGE._replace(allowed=cpus_in("5-6,13")), [], 2)
    why = "(no device; workers are spread over the NUMA nodes)"
    assert found == (
        Binding(frozenset({5, 6}), f"NUMA node 1 {why}"),
        Binding(frozenset({13}), f"NUMA node 3 {why}"),
    )


@pytest.mark.parametrize("mode", MODES)
def test_numa_nodes_that_have_none_of_the_allowed_cpus_are_an_error(mode: str) -> None:
    with pytest.raises(UsageError, match=r"may run on CPUs 40-41, none of them near NUMA node 0 \(no device"):
        bindings(mode, LARGE._replace(allowed=cpus_in("40-41")), [], 1)


# --- a machine that publishes little ----------------------------------------------------------------------

BARE = Topology(frozenset(range(4)), {0: frozenset(range(4))})


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("node", ["0-3", "0-3"]),
        ("socket", ["0-3", "0-3"]),
        ("exclusive", ["0-1", "2-3"]),
        ("core-complex", ["0-3"] * 2),
    ],
)
def test_unpublished_cores_are_single_cpus_and_unpublished_caches_are_one(mode: str, expected: list[str]) -> None:
    assert lists(mode, BARE, [], 2) == expected


# --- what callers write -----------------------------------------------------------------------------------


class Options(NamedTuple):
    affinity_mode: Any


class Value(NamedTuple):
    value: str


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_is_a_name_or_an_object_that_has_one(mode: str) -> None:
    assert [mode_of(mode), mode_of(Options(mode)), mode_of(Options(Value(mode)))] == [mode, mode, mode]


@pytest.mark.parametrize("options", ["socke", "", 3, Options(None), Options(Value("core_complex"))])
def test_anything_else_is_no_mode(options: Any) -> None:
    with pytest.raises(UsageError, match=r"numa_options=.*: write one of node, socket, exclusive, core-complex"):
        mode_of(options)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("", []), ("\n", []), ("5\n", [5]), ("0-3\n", [0, 1, 2, 3]), ("0-1,4,6-7", [0, 1, 4, 6, 7])],
)
def test_lists_of_cpus_are_read_and_written_as_the_kernel_does(text: str, cpus: list[int]) -> None:
    assert (sorted(cpus_in(text)), cpu_list(cpus)) == (cpus, text.strip())


GPUS = ["GPU-0a1", "GPU-0b2", "GPU-c33"]


@pytest.mark.parametrize(
    ("listing", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        (" 1 , 2", [1, 2]),
        ("1,7,2", [1]),
        ("0,-1,1", [0]),
        ("1,1", []),
        ("GPU-c33,GPU-0a1", [2, 0]),
        ("GPU-c", [2]),
        ("MIG-GPU-0b2/3/0", [1]),
    ],
)
def test_a_list_shows_devices_in_its_order(listing: str | None, expected: list[int]) -> None:
    assert chosen_devices(GPUS, listing) == expected


def test_no_device_is_shown_where_there_is_none() -> None:
    assert chosen_devices([], "0,GPU-0a1") == []


@pytest.mark.parametrize("name", ["GPU-0", "GPU-ffff", "MIG-1c83"])
def test_a_name_that_is_not_one_devices_is_an_error(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen_devices(GPUS, name)
    assert str(caught.value) == (f"--numa-binding: cannot tell which device {name!r} is; list devices by their numbers")
