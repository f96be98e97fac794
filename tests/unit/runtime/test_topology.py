"""CPUs and accelerators of machines that are made of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher_core.errors import UsageError
from launcher_core.rules.numa import MODES, Device, Topology, cpu_list, cpus_in
from launcher_core.runtime.topology import bindings, devices, read_topology

ALLOWED = frozenset({0, 5, 9})


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def add_node(root: Path, number: int, cpus: str) -> None:
    write(root / f"sys/devices/system/node/node{number}/cpulist", f"{cpus}\n")


def add_cpu(root: Path, number: int, package: int, siblings: str) -> None:
    topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
    write(topology / "physical_package_id", f"{package}\n")
    write(topology / "thread_siblings_list", f"{siblings}\n")


def add_cache(root: Path, cpu: int, index: int, level: int, kind: str, cpus: str) -> None:
    folder = root / f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
    for name, text in {"level": str(level), "type": kind, "shared_cpu_list": cpus}.items():
        write(folder / name, f"{text}\n")


def add_pci(root: Path, address: str, node: int) -> Path:
    folder = root / f"sys/devices/pci0000:00/{address}"
    write(folder / "numa_node", f"{node}\n")
    link = root / f"sys/bus/pci/devices/{address}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder)
    return folder


def add_nvidia(root: Path, address: str, node: int, name: str) -> None:
    text = f"Model: \t\t Some Model\nGPU UUID: \t {name}\nVideo BIOS: \t ??\n"
    write(root / f"proc/driver/nvidia/gpus/{address}/information", text)
    add_pci(root, address, node)


def add_drawn(root: Path, minor: int, folder: Path) -> None:
    link = root / f"sys/class/drm/renderD{minor}/device"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder)


def add_amd(root: Path, index: int, minor: int, unique: int, pci: tuple[str, int]) -> None:
    text = f"simd_count 304\ndrm_render_minor {minor}\nunique_id {unique}\n"
    write(root / f"sys/class/kfd/kfd/topology/nodes/{index}/properties", text)
    add_drawn(root, minor, add_pci(root, *pci))


def add_intel(root: Path, minor: int, pci: tuple[str, int]) -> None:
    folder = add_pci(root, *pci)
    write(folder / "vendor", "0x8086\n")
    driver = root / "sys/bus/pci/drivers/xe"
    driver.mkdir(parents=True, exist_ok=True)
    (folder / "driver").symlink_to(driver)
    add_drawn(root, minor, folder)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two sockets of two NUMA nodes of two cores with two threads each; a fifth node has memory only.

    Core i is CPUs i and i + 8. Each socket has one cache of level 3; cores have two levels of their own.
    """
    for name in ("possible", "online", "has_cpu"):
        write(tmp_path / f"sys/devices/system/node/{name}", "0-4\n")
    for number, cpus in enumerate(("0-1,8-9", "2-3,10-11", "4-5,12-13", "6-7,14-15", "")):
        add_node(tmp_path, number, cpus)
    for cpu in range(16):
        core, socket = cpu % 8, cpu % 8 // 4
        threads, sharers = f"{core},{core + 8}", f"{socket * 4}-{socket * 4 + 3},{socket * 4 + 8}-{socket * 4 + 11}"
        add_cpu(tmp_path, cpu, socket, threads)
        add_cache(tmp_path, cpu, 0, 1, "Data", threads)
        add_cache(tmp_path, cpu, 1, 1, "Instruction", threads)
        add_cache(tmp_path, cpu, 2, 2, "Unified", threads)
        add_cache(tmp_path, cpu, 3, 3, "Unified", sharers)
        add_cache(tmp_path, cpu, 4, 4, "Instruction", "0-15")
    return tmp_path


# --- CPUs -------------------------------------------------------------------------------------------------

NODES = {
    0: frozenset({0, 1, 8, 9}),
    1: frozenset({2, 3, 10, 11}),
    2: frozenset({4, 5, 12, 13}),
    3: frozenset({6, 7, 14, 15}),
    4: frozenset(),
}
READ = {
    "node": Topology(ALLOWED, NODES),
    "socket": Topology(ALLOWED, NODES, sockets={cpu: cpu % 8 // 4 for cpu in range(16)}),
    "exclusive": Topology(ALLOWED, NODES, cores={cpu: cpu % 8 for cpu in range(16)}),
    "core-complex": Topology(ALLOWED, NODES, caches={cpu: cpu % 8 // 4 * 4 for cpu in range(16)}),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_reads_what_it_needs_and_no_more(large: Path, mode: str) -> None:
    assert read_topology(mode, ALLOWED, large) == READ[mode]


def test_without_numa_nodes_all_allowed_cpus_are_one(tmp_path: Path) -> None:
    assert [read_topology(mode, ALLOWED, tmp_path) for mode in MODES] == [Topology(ALLOWED, {0: ALLOWED})] * 4


def test_cpus_of_which_nothing_is_published_are_left_out(tmp_path: Path) -> None:
    add_node(tmp_path, 0, "0-1")
    add_cpu(tmp_path, 1, 0, "1")
    one_node = {0: frozenset({0, 1})}
    found = [read_topology(mode, ALLOWED, tmp_path) for mode in ("socket", "exclusive", "core-complex")]
    assert found == [
        Topology(ALLOWED, one_node, sockets={1: 0}),
        Topology(ALLOWED, one_node, cores={1: 1}),
        Topology(ALLOWED, one_node),
    ]


# --- accelerators -----------------------------------------------------------------------------------------


def test_a_machine_without_accelerators_has_none(large: Path) -> None:
    assert devices({"CUDA_VISIBLE_DEVICES": "0"}, large) == []


def test_nvidias_devices_come_in_the_order_of_the_bus_or_of_the_list(tmp_path: Path) -> None:
    add_nvidia(tmp_path, "0000:9a:00.0", 1, "GPU-bb")
    add_nvidia(tmp_path, "0000:3b:00.0", 0, "GPU-aa")
    first, second = Device("0000:3b:00.0", 0), Device("0000:9a:00.0", 1)
    listings = [{}, {"CUDA_VISIBLE_DEVICES": "1,0"}, {"CUDA_VISIBLE_DEVICES": "GPU-bb"}, {"CUDA_VISIBLE_DEVICES": ""}]
    assert [devices(environ, tmp_path) for environ in listings] == [[first, second], [second, first], [second], []]


def test_amds_devices_come_in_the_order_of_the_kernels_topology(tmp_path: Path) -> None:
    write(tmp_path / "sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 64\nsimd_count 0\n")
    add_amd(tmp_path, 2, 130, 0xA2, ("0000:21:00.0", 0))
    add_amd(tmp_path, 10, 128, 0xA1, ("0000:11:00.0", 3))
    add_amd(tmp_path, 11, 129, 0xA3, ("0000:31:00.0", 2))
    a, b, c = Device("0000:21:00.0", 0), Device("0000:11:00.0", 3), Device("0000:31:00.0", 2)
    expected = [
        ({}, [a, b, c]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-00000000000000a1,0"}, [b, a]),
        ({"ROCR_VISIBLE_DEVICES": "2,1", "HIP_VISIBLE_DEVICES": "1"}, [b]),
        ({"CUDA_VISIBLE_DEVICES": "2"}, [c]),
    ]
    assert [devices(environ, tmp_path) for environ, _ in expected] == [found for _, found in expected]


def test_intels_cards_are_those_that_the_mask_shows(tmp_path: Path) -> None:
    add_intel(tmp_path, 128, ("0000:3a:00.0", 0))
    add_intel(tmp_path, 129, ("0000:9a:00.0", 1))
    first, second = Device("0000:3a:00.0", 0), Device("0000:9a:00.0", 1)
    masks = [{}, {"ZE_AFFINITY_MASK": "1.0,1.1"}, {"ZE_AFFINITY_MASK": "1,0"}, {"ZE_AFFINITY_MASK": "7"}]
    assert [devices(environ, tmp_path) for environ in masks] == [[first, second], [second], [first, second], []]


def test_the_graphics_of_a_processor_is_no_accelerator(tmp_path: Path) -> None:
    add_intel(tmp_path, 128, ("0000:00:02.0", -1))
    assert devices({}, tmp_path) == []


def test_a_device_whose_numa_node_is_not_known_is_at_the_first(tmp_path: Path) -> None:
    add_nvidia(tmp_path, "0000:3b:00.0", -1, "GPU-aa")
    (tmp_path / "proc/driver/nvidia/gpus/0000:9a:00.0").mkdir()
    assert devices({}, tmp_path) == [Device("0000:3b:00.0", 0), Device("0000:9a:00.0", 0)]


# --- both -------------------------------------------------------------------------------------------------


def test_bindings_are_of_the_cpus_that_this_process_may_use(tmp_path: Path) -> None:
    own = frozenset(os.sched_getaffinity(0))
    lowest, beyond = min(own), max(own) + 1
    add_node(tmp_path, 0, f"{beyond}")
    add_node(tmp_path, 1, f"{lowest},{beyond + 1}")
    add_nvidia(tmp_path, "0000:3b:00.0", 1, "GPU-aa")
    (found,) = bindings("node", 1, {}, tmp_path)
    assert (cpu_list(found.cpus), found.reason) == (f"{lowest}", "NUMA node 1 (device 0000:3b:00.0)")


def test_a_device_far_from_the_cpus_of_this_process_is_an_error(tmp_path: Path) -> None:
    add_node(tmp_path, 0, f"{max(os.sched_getaffinity(0)) + 1}")
    with pytest.raises(UsageError, match="none of them near NUMA node 0"):
        bindings("socket", 1, {}, tmp_path)


@pytest.mark.parametrize("mode", MODES)
def test_this_machine_can_be_read(mode: str) -> None:
    own = frozenset(os.sched_getaffinity(0))
    found = read_topology(mode, own)
    assert own <= cpus_in(cpu_list(cpu for cpus in found.nodes.values() for cpu in cpus))
